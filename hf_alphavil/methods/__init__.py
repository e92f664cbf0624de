"""
The methods: ways to train a target task with auxiliary tasks, all behind one base class.

Notation in this package: θ are the trainable parameters, θ0 those from which forks start, δ_t = θ − θ0 at the end of
task t's fork, and α_t is its coefficient in the merge. L_t is task t's loss, g_t its gradient, w_t its weight and K_t
the steps in which it sees its sampled rows once. The index `*` is the target and k an auxiliary. There are T tasks and
K auxiliaries. η is a learning rate.
"""

from .alphavil import AlphaVIL
from .arml import ARML
from .auto_lambda import AutoLambda
from .auxilearn import AuxiLearn
from .base import Method
from .deltas import DeltaBank
from .diw import DIW
from .forkmerge import ForkMerge
from .gradnorm import GradNorm
from .hydalearn import HydaLearn
from .joint import Multitask, Single
from .objective import Objective, Objectives
from .ol_aux import OLAux
from .probed_mixture import ProbedMixture
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
    ProbedMixture,
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
#: What became of names of earlier versions.
FORMER_METHODS = {
    "dynamics": "pass 'probed_mixture', as it is called now: it lacks the constraints of DynaMiCS (arXiv 2605.10770)"
}

__all__ = [
    "FORMER_METHODS",
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
