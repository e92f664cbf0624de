"""θ0 and the deltas that the phases of an epoch leave: tensors only, nothing of data or losses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..distributed.fsdp import drop_gathered, local_tensor

#: The group of all parameters, where each phase has one coefficient.
ALL_PARAMETERS = ""


def product_name(phase: str, group: str) -> str:
    """Name of the inner product of a phase's δ in a group of parameters; the phase's own where there is one group."""
    return phase if group == ALL_PARAMETERS else f"{phase}/{group}"


class DeltaBank:
    """
    Holds θ0, the delta δ of every finished phase, and builds θ0 + Σ α δ in the model's own parameters.

    Covers the trainable parameters by name (tied ones once), never the state dict. Parameters are always written in
    place, so optimizers, DDP and compiled graphs keep their references. Buffers (batch-norm statistics) go back to
    θ0's at each fork and take the values of one chosen phase at the merge. Of a sharded model (FSDP2), θ0 and deltas
    are this process's shards, and so are the gradients whose inner products are taken.

    Args:
        model (`torch.nn.Module`): The bare model.
        unscaled (`Collection[str]`, *optional*, defaults to `()`):
            Parameters on which coefficients do not act: their deltas are merged with coefficient 1 and leave no
            inner product (`alpha_applies_to="encoder"` puts the heads here).
        groups (`Mapping[str, str]`, *optional*):
            Group of every parameter by its name, where a phase's coefficient may be one per group
            (`alpha_granularity="layer"`). Without it, all parameters are one group.
        device (`str`, *optional*, defaults to `"device"`):
            Where θ0 and deltas lie between uses: on the parameters' `"device"`, or in the memory of the `"cpu"`,
            pinned where the parameters are on CUDA.
        dtype (`str`, *optional*, defaults to `"float32"`):
            What deltas are stored in: `"float32"`, the parameters' own precision, or `"bfloat16"`. A delta is rounded
            once, when it is recorded; sums are in the parameters' dtype. θ0 always keeps theirs.
    """

    def __init__(
        self,
        model: nn.Module,
        unscaled: Collection[str] = (),
        groups: Mapping[str, str] | None = None,
        device: str = "device",
        dtype: str = "float32",
    ) -> None:
        named = {name: p for name, p in model.named_parameters() if p.requires_grad}
        self.model = model
        self.names: list[str] = list(named)
        self.parameters: list[nn.Parameter] = list(named.values())
        # `None`: coefficients do not act on the parameter.
        self._group_of = [
            None if name in unscaled else groups[name] if groups is not None else ALL_PARAMETERS for name in self.names
        ]
        self._on_cpu = device == "cpu"
        self._rounded = dtype == "bfloat16"
        self._start: list[Tensor] | None = None
        self._start_buffers: dict[str, Tensor] = {}
        self._deltas: dict[str, list[Tensor]] = {}
        self._kept_buffers: dict[str, Tensor] = {}

    @property
    def buffers(self) -> dict[str, Tensor]:
        """`dict[str, Tensor]`: The model's buffers. Read anew each time: DDP replaces them when it wraps a model."""
        return dict(self.model.named_buffers())

    @property
    def is_open(self) -> bool:
        """`bool`: Whether a θ0 is held: between the first fork of a plan and its merge."""
        return self._start is not None

    @property
    def groups(self) -> list[str]:
        """`list[str]`: Groups of the parameters on which coefficients act, in the model's order."""
        return list(dict.fromkeys(group for group in self._group_of if group is not None))

    @property
    def phases(self) -> list[str]:
        """`list[str]`: Names of the finished phases, sorted: sums run in this order, whatever order they ran in."""
        return sorted(self._deltas)

    def delta(self, phase: str) -> dict[str, Tensor]:
        """`dict[str, Tensor]`: δ of a finished phase by parameter name, as it is stored. Not a copy."""
        return dict(zip(self.names, self._deltas[phase], strict=True))

    def start(self) -> dict[str, Tensor]:
        """`dict[str, Tensor]`: θ0 by parameter name, where it is stored. Not a copy."""
        return dict(zip(self.names, self._opened(), strict=True))

    @torch.no_grad()
    def open(self) -> None:
        """Takes the model's present parameters and buffers as θ0."""
        self._start = [self._stored(shard) for shard in self._shards()]
        self._start_buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}

    @torch.no_grad()
    def rewind(self) -> None:
        """Puts θ0 and its buffers back into the model."""
        self._write(self._opened())
        self._write_buffers(self._start_buffers)

    @torch.no_grad()
    def record(self, phase: str, keep_buffers: bool = False) -> None:
        """
        Records δ = θ − θ0 of the phase that has just ended.

        Args:
            phase (`str`): The phase's name.
            keep_buffers (`bool`, *optional*, defaults to `False`): Whether the merge takes this phase's buffers.
        """
        self._deltas[phase] = [
            self._stored(shard - _loaded(start, shard), rounded=self._rounded)
            for shard, start in zip(self._shards(), self._opened(), strict=True)
        ]
        if keep_buffers:
            self._kept_buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}

    @torch.no_grad()
    def share(self, phase: str, source: int, keep_buffers: bool = False) -> None:
        """
        Gives every process the delta of a phase that one of them holds. A collective of all processes.

        Args:
            phase (`str`): The phase's name.
            source (`int`): Rank of the process that has recorded it.
            keep_buffers (`bool`, *optional*, defaults to `False`): Whether the merge takes this phase's buffers.
        """
        if not self.is_open:  # on a process that has run no phase
            self.open()
        if phase not in self._deltas and dist.get_rank() == source:
            raise RuntimeError(f"process {source} is to share the delta of phase {phase!r}, which it has not run")
        shards = self._shards()
        # What lies in a tensor that only receives does not matter.
        deltas = self._deltas.get(phase) or [self._stored(shard, rounded=self._rounded) for shard in shards]
        for delta, shard in zip(deltas, shards, strict=True):
            sent = delta.to(shard.device).contiguous()  # where, and in what form, processes exchange
            dist.broadcast(sent, source)
            delta.copy_(sent)
        self._deltas[phase] = deltas
        if keep_buffers:
            kept = self._kept_buffers or {name: buffer.clone() for name, buffer in self.buffers.items()}
            for name in kept:
                dist.broadcast(kept[name], source)
            self._kept_buffers = kept

    @torch.no_grad()
    def model_is_finite(self) -> bool:
        """`bool`: Whether the model's present parameters, or this process's shards, hold neither NaN nor infinity."""
        shards = [shard for shard in self._shards() if shard.numel() > 0]
        largest = list(torch._foreach_norm(shards, ord=float("inf"))) if shards else []
        return not largest or bool(torch.isfinite(torch.stack(largest)).all())

    @torch.no_grad()
    def combine(self, coefficients: Mapping[str, float] | Mapping[str, Mapping[str, float]]) -> None:
        """
        Sets the model to θ0 + Σ c_p δ_p, with the kept buffers.

        Args:
            coefficients (`Mapping[str, float]` or `Mapping[str, Mapping[str, float]]`):
                c_p by phase: one for all parameters, or one by group; phases that left no delta are passed over.
        """
        self._write(self._opened())
        shards = self._shards()
        for phase in self.phases:
            given = coefficients[phase]
            for shard, delta, group in zip(shards, self._deltas[phase], self._group_of, strict=True):
                coefficient = 1.0 if group is None else given[group] if isinstance(given, Mapping) else given
                shard.add_(_loaded(delta, shard), alpha=coefficient)
        self._write_buffers(self._kept_buffers or self._start_buffers)

    @torch.no_grad()
    def inner_products(self, gradients: Sequence[Tensor | None]) -> dict[str, Tensor]:
        """
        ⟨g, δ_p⟩ of every finished phase, or of each group of its parameters.

        Args:
            gradients (`Sequence[Tensor | None]`): One gradient per parameter; `None` counts as zero.

        Returns:
            `dict[str, Tensor]`: Scalar float64 tensors by [`product_name`], left on the device.
        """
        products, groups = {}, self.groups
        for phase, deltas in self._deltas.items():
            terms: dict[str, list[Tensor]] = {group: [] for group in groups}
            for gradient, delta, group in zip(gradients, deltas, self._group_of, strict=True):
                if gradient is not None and group is not None:
                    terms[group].append(torch.dot(gradient.flatten(), _loaded(delta, gradient).flatten()))
            for group, dots in terms.items():
                products[product_name(phase, group)] = (
                    torch.stack(dots).sum(dtype=torch.float64) if dots else torch.zeros((), dtype=torch.float64)
                )
        return products

    def close(self) -> None:
        """Forgets θ0 and the deltas; the model keeps its present parameters."""
        self._start = None
        self._start_buffers, self._kept_buffers, self._deltas = {}, {}, {}

    @contextmanager
    def start_in_model(self) -> Iterator[None]:
        """Puts θ0 into the model for the duration of a `with` block: what evaluation and saving must meet."""
        if not self.is_open:
            yield
            return
        running = [self._stored(shard) for shard in self._shards()]
        running_buffers = {name: buffer.clone() for name, buffer in self.buffers.items()}
        self.rewind()
        try:
            yield
        finally:
            self._write(running)
            self._write_buffers(running_buffers)

    def state_tensors(self) -> dict[str, Tensor]:
        """
        What a checkpoint must hold beside θ0, which is the checkpoint's model.

        Returns:
            `dict[str, Tensor]`: `theta/<name>`, `delta/<phase>/<name>`, `buffer/<name>`, `kept_buffer/<name>`; empty
            outside a plan of forks.
        """
        if not self.is_open:
            return {}
        tensors = {f"theta/{name}": p.detach() for name, p in zip(self.names, self._shards(), strict=True)}
        for phase, deltas in self._deltas.items():
            tensors.update({f"delta/{phase}/{name}": d for name, d in zip(self.names, deltas, strict=True)})
        tensors.update({f"buffer/{name}": buffer for name, buffer in self.buffers.items()})
        tensors.update({f"kept_buffer/{name}": buffer for name, buffer in self._kept_buffers.items()})
        return tensors

    @torch.no_grad()
    def load_state_tensors(self, tensors: Mapping[str, Tensor], phases: Sequence[str]) -> None:
        """
        Inverse of [`state_tensors`], for a model that holds θ0.

        Args:
            tensors (`Mapping[str, Tensor]`): What [`state_tensors`] returned.
            phases (`Sequence[str]`): Names of the finished phases.

        Raises:
            KeyError: If a tensor of a trainable parameter is missing.
        """
        self.open()
        for phase in phases:
            self._deltas[phase] = [
                self._stored(tensors[f"delta/{phase}/{name}"].to(shard.device), rounded=self._rounded)
                for name, shard in zip(self.names, self._shards(), strict=True)
            ]
        self._write([tensors[f"theta/{name}"] for name in self.names])
        self._write_buffers({name: tensors[f"buffer/{name}"] for name in self.buffers})
        self._kept_buffers = {
            name: tensors[f"kept_buffer/{name}"].to(buffer.device)
            for name, buffer in self.buffers.items()
            if f"kept_buffer/{name}" in tensors
        }

    def _opened(self) -> list[Tensor]:
        if self._start is None:
            raise RuntimeError("no θ0 is held: call open() first")
        return self._start

    def _shards(self) -> list[Tensor]:
        """The parameters, or this process's shards of them; asked for each time, as FSDP2 may move them."""
        return [local_tensor(p) for p in self.parameters]

    def _stored(self, value: Tensor, rounded: bool = False) -> Tensor:
        """A copy of a tensor on the parameters' device, in the place and the dtype in which it is kept."""
        value = value.detach().to(torch.bfloat16 if rounded else value.dtype)
        place = torch.device("cpu") if self._on_cpu else value.device
        return torch.empty_like(value, device=place, pin_memory=self._on_cpu and value.is_cuda).copy_(value)

    @torch.no_grad()
    def _write(self, values: Sequence[Tensor]) -> None:
        drop_gathered(self.model)
        for shard, value in zip(self._shards(), values, strict=True):
            shard.copy_(value)

    def _write_buffers(self, values: Mapping[str, Tensor]) -> None:
        buffers = self.buffers
        for name, value in values.items():
            buffers[name].copy_(value)


def _loaded(stored: Tensor, like: Tensor) -> Tensor:
    """A stored tensor on the device and in the dtype of `like`; the very tensor where it is so already."""
    # In two steps, as one would up-cast on the CPU and move twice the bytes.
    return stored.to(like.device).to(like.dtype)
