"""One adapter for all methods of the library TorchJD (https://torchjd.org, an optional extra)."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor

from .deltas import DeltaBank
from .objective import Objectives
from .plain_state import from_json, optimizer_from_json, optimizer_to_json, to_json
from .record import EpochRecord
from .step_method import Step, StepMethod

if TYPE_CHECKING:
    from ..settings import MultitaskSettings

AGGREGATION, SCALARIZATION = "torchjd.aggregation", "torchjd.scalarization"


@dataclass(frozen=True)
class Source:
    """
    A class of TorchJD and how to construct it.

    Args:
        module (`str`): `torchjd.aggregation` (of gradients) or `torchjd.scalarization` (of losses).
        class_name (`str`): The class.
        paper (`str`): The source of the rule.
        settings (`Mapping[str, Any]`, *optional*):
            Its arguments with our defaults, which are the library's except for `c` and `mu`, which have none there.
        size (`str`, *optional*): The argument that takes the number of tasks.
        state (`tuple[str, ...]`, *optional*): Attributes that change between steps, which checkpoints must hold.
    """

    module: str
    class_name: str
    paper: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    size: str | None = None
    state: tuple[str, ...] = ()


SOURCES = {
    "pcgrad": Source(AGGREGATION, "PCGrad", "arXiv 2001.06782"),
    "gradvac": Source(
        AGGREGATION, "GradVac", "arXiv 2010.05874", {"beta": 0.5, "eps": 1e-8},
        state=("gramian_weighting._phi_t", "gramian_weighting._state_key"),
    ),
    "cagrad": Source(AGGREGATION, "CAGrad", "arXiv 2110.14048", {"c": 0.5, "norm_eps": 1e-4}),
    "nashmtl": Source(
        AGGREGATION, "NashMTL", "arXiv 2202.01017", {"max_norm": 1.0, "optim_niter": 20}, size="n_tasks",
        state=("weighting.prvs_alpha",),
    ),
    "mgda": Source(AGGREGATION, "MGDA", "arXiv 1810.04650", {"epsilon": 1e-3, "max_iters": 100}),
    "imtl": Source(AGGREGATION, "IMTLG", "Liu et al., ICLR 2021 (IMTL-G)"),
    "aligned_mtl": Source(AGGREGATION, "AlignedMTL", "Senushkin et al., CVPR 2023", {"scale_mode": "min"}),
    "fairgrad": Source(AGGREGATION, "FairGrad", "arXiv 2402.15638", {"alpha": 1.0}),
    "upgrad": Source(AGGREGATION, "UPGrad", "arXiv 2406.16232"),
    "pcd": Source(
        AGGREGATION, "PCD", "TorchJD's PCD; the target is the primary task", {"tau": 0.02, "beta": 0.999, "eps": 1e-8},
        state=(
            "gramian_weighting._sq_norm_ema", "gramian_weighting._n_steps", "gramian_weighting._state_key",
        ),
    ),
    "uw": Source(
        SCALARIZATION, "UW", "Kendall et al., CVPR 2018", {"weight_learning_rate": 0.025}, size="shape",
        state=("log_var",),
    ),
    "dwa": Source(
        SCALARIZATION, "DWA", "Liu et al., CVPR 2019", {"temperature": 2.0},
        state=("_loss_sum", "_n_batches", "_previous_averages"),
    ),
    "famo": Source(
        SCALARIZATION, "FAMO", "Liu et al., NeurIPS 2023", {"lr": 0.025, "weight_decay": 1e-3}, size="shape",
        state=("_w",),
    ),
    "stch": Source(SCALARIZATION, "STCH", "arXiv 2402.19078", {"mu": 0.1}),
    "rlw": Source(SCALARIZATION, "Random", "arXiv 2111.10603"),
}  # fmt: skip


class TorchJDMethod(StepMethod):
    """
    Weighs a step's gradients with a class of TorchJD.

    An aggregator computes weights from the gradients' inner products over the shared parameters. Heads follow their
    own task's gradient, as in the library's `mtl_backward`. A scalarizer gets the tasks' losses; the weight of g_t is
    the derivative of its value with respect to L_t, on heads too. The target comes first.

    Ours: random draws are the same on all ranks, from (seed, epoch, step); Adam learns UW's parameters, with
    `weight_learning_rate`; FAMO measures the losses of the step's batches again after the step, in training mode.

    Args:
        args (`MultitaskSettings`): The settings.
        tasks (`Sequence[str]`): All tasks, the target included.
    """

    library = "torchjd"
    source: ClassVar[Source]

    def __init__(self, args: MultitaskSettings, tasks: Sequence[str]) -> None:
        super().__init__(args, tasks)
        learning_rate = getattr(self.options, "weight_learning_rate", None)
        self._module = _make(self.source, self.options, len(self.order)).double()
        self._optimizer = (
            torch.optim.Adam(self._module.parameters(), lr=learning_rate) if learning_rate is not None else None
        )

    def weigh(self, step: Step) -> Mapping[str, float]:
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(step.seed)  # only the CPU's, which fork_rng restores
            weights = self._of_losses(step) if self.weighs_heads else self._of_gradients(step)
        return dict(zip(self.order, weights.tolist(), strict=True))

    def _of_gradients(self, step: Step) -> Tensor:
        gramian = step.gradients.gramian()
        if not gramian.isfinite().all():  # solvers would raise; the runner's message says more
            return torch.ones(len(self.order))
        if hasattr(self._module, "gramian_weighting"):
            return self._module.gramian_weighting(gramian)
        # NashMTL takes gradients but uses only their inner products: any vectors with the same products will do.
        values, vectors = torch.linalg.eigh(gramian)
        return self._module.weighting(vectors * values.clamp(min=0).sqrt())

    def _of_losses(self, step: Step) -> Tensor:
        losses = torch.tensor([step.losses[task] for task in self.order], dtype=torch.float64, requires_grad=True)
        self._module(losses).backward()
        if self._optimizer is not None:
            self._optimizer.step()
            self._optimizer.zero_grad()
        assert losses.grad is not None
        return losses.grad

    def after_step(self, step: Step) -> None:
        if hasattr(self._module, "update"):
            again = step.recomputed_losses()
            self._module.update(torch.tensor([again[task] for task in self.order], dtype=torch.float64))

    def merge(
        self, deltas: DeltaBank, objectives: Objectives, epoch: int, progress: Callable[[int], None]
    ) -> EpochRecord:
        if hasattr(self._module, "step") and callable(self._module.step):
            self._module.step()  # DWA compares epochs
        return super().merge(deltas, objectives, epoch, progress)

    # ---- Checkpoints. TorchJD keeps some state outside `state_dict()`.

    def state_dict(self) -> dict[str, Any]:
        state = {path: to_json(self._get(path)) for path in self.source.state}
        optimizer = self._weights_optimizer()
        return {
            **super().state_dict(),
            "library": state,
            "optimizer": None if optimizer is None else optimizer_to_json(optimizer),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if state["optimizer"] is not None and self._weights_optimizer() is None:
            # FAMO makes its optimizer in the first update.
            ones = torch.ones(len(self.order), dtype=torch.float64)
            self._module(ones)
            self._module.update(ones)
        for path, value in state["library"].items():
            self._set(path, from_json(value))
        optimizer = self._weights_optimizer()
        if state["optimizer"] is not None and optimizer is not None:
            optimizer_from_json(optimizer, state["optimizer"])

    def _weights_optimizer(self) -> torch.optim.Optimizer | None:
        return self._optimizer or getattr(self._module, "_optimizer", None)

    def _get(self, path: str) -> Any:
        value = self._module
        for name in path.split("."):
            value = getattr(value, name)
        return value

    def _set(self, path: str, value: Any) -> None:
        holder, _, name = path.rpartition(".")
        owner = self._get(holder) if holder else self._module
        if isinstance(getattr(owner, name), torch.nn.Parameter):
            with torch.no_grad():
                getattr(owner, name).copy_(value)
        else:
            setattr(owner, name, value)


def _make(source: Source, options: Any, num_tasks: int) -> Any:
    """Constructs the library's object."""
    settings = {name: value for name, value in dataclasses.asdict(options).items() if name != "weight_learning_rate"}
    if source.size is not None:
        settings[source.size] = num_tasks
    return getattr(importlib.import_module(source.module), source.class_name)(**settings)


def _method(name: str, source: Source) -> type[TorchJDMethod]:
    fields = [(key, type(value), field(default=value)) for key, value in source.settings.items()]

    def check(options: Any) -> None:
        try:
            _make(source, options, 2)
        except (TypeError, ValueError) as error:
            raise ValueError(f"method_kwargs: {error} (of TorchJD's {source.class_name})") from error

    return type(
        f"TorchJD{source.class_name}",
        (TorchJDMethod,),
        {
            "__doc__": f"{source.class_name} of TorchJD ({source.paper}).",
            "name": name,
            "source": source,
            "needs_shared_parameters": name == "nashmtl",  # it divides by the norm of the Gramian
            "weighs_heads": source.module == SCALARIZATION,
            "Options": dataclasses.make_dataclass(
                f"{source.class_name}Options", fields, frozen=True, namespace={"__post_init__": check}
            ),
        },
    )


#: One class per method of the library.
TORCHJD_METHODS: list[type[TorchJDMethod]] = [_method(name, source) for name, source in SOURCES.items()]
