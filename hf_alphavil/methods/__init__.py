"""The methods: ways to train a target task with auxiliary tasks, all behind one base class."""

from .alphavil import AlphaVIL
from .arml import ARML
from .auto_lambda import AutoLambda
from .auxilearn import AuxiLearn
from .base import Method
from .deltas import DeltaBank
from .diw import DIW
from .dynamics import Dynamics
from .forkmerge import ForkMerge
from .gradnorm import GradNorm
from .hydalearn import HydaLearn
from .joint import Multitask, Single
from .objective import Objective, Objectives
from .ol_aux import OLAux
from .record import EpochRecord
from .similarity import GradientCosineSimilarity, TargetPCGrad
from .step_method import Step, StepMethod
from .stilts import Stilts
from .tartan import MetaTartan, MTTartan
from .tawt import TAWT
from .torchjd import TORCHJD_METHODS

_ALL: tuple[type[Method], ...] = (
    AlphaVIL,
    Multitask,
    Single,
    Stilts,
    DIW,
    ForkMerge,
    Dynamics,
    TAWT,
    MetaTartan,
    MTTartan,
    ARML,
    GradientCosineSimilarity,
    OLAux,
    TargetPCGrad,
    HydaLearn,
    AuxiLearn,
    AutoLambda,
    GradNorm,
    *TORCHJD_METHODS,
)

#: Method by the value of the setting `method`.
METHODS: dict[str, type[Method]] = {method.name: method for method in _ALL}

__all__ = [
    "METHODS",
    "AlphaVIL",
    "DeltaBank",
    "EpochRecord",
    "Method",
    "Multitask",
    "Objective",
    "Objectives",
    "Single",
    "Step",
    "StepMethod",
]
