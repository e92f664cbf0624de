"""θ0, the deltas of an epoch's forks, and their merge θ0 + Σ α δ. Tensors only: no data, no losses."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
import torch.distributed as dist
from torch import Tensor, nn

from .buffers import ForkBuffers
from .delta_stack import DeltaStack
from .embedding_stack import EmbeddingStack
from .parameters import TrainableParameters
from .storage import Storage

#: The only group, if all parameters share one coefficient per phase.
ALL_PARAMETERS = "all"


class DeltaBank:
    """
    Holds θ0 and the delta δ_p of every finished phase p, and merges them into the model's own parameters.

    Coefficients of the merge are one tensor of shape `(phases, groups)`: rows in the order of [`phases`], columns in
    that of [`groups`]. For a sharded model (FSDP2), θ0, deltas and the gradients given to [`inner_products`] are this
    process's shards.

    Args:
        model (`torch.nn.Module`): The bare model.
        unscaled (`Collection[str]`, *optional*, defaults to `()`):
            Names of parameters whose deltas are merged with coefficient 1 and enter no inner product
            (`alpha_applies_to="encoder"` puts the heads here).
        groups (`Mapping[str, str]`, *optional*):
            Group of every parameter by name (`alpha_granularity="layer"`). Without it, all parameters are one group.
        device (`str`, *optional*, defaults to `"device"`): Where θ0 and deltas are kept; see [`Storage`].
        dtype (`str`, *optional*, defaults to `"float32"`):
            What deltas are kept in; see [`Storage`]. Sums are always in the parameters' dtype.
    """

    def __init__(
        self,
        model: nn.Module,
        unscaled: Collection[str] = (),
        groups: Mapping[str, str] | None = None,
        device: str = "device",
        dtype: str = "float32",
    ) -> None:
        self.model = model
        self._parameters = TrainableParameters(model)
        self.names = self._parameters.names
        self.parameters = self._parameters.tensors
        scaled = [name for name in self.names if name not in unscaled]
        group_of = {name: ALL_PARAMETERS if groups is None else groups[name] for name in scaled}
        #: Groups of the parameters on which coefficients act, in the model's order.
        self.groups: list[str] = list(dict.fromkeys(group_of.values())) or [ALL_PARAMETERS]
        # The column of every parameter's coefficient; `None` for unscaled parameters.
        self._columns = [self.groups.index(group_of[name]) if name in group_of else None for name in self.names]
        embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
        self._stack_classes = [EmbeddingStack if id(p) in embeddings else DeltaStack for p in self.parameters]
        self._storage = Storage(device, dtype)
        self._buffers = ForkBuffers(model)
        self._start: list[Tensor] | None = None
        # Memory of an earlier epoch's θ0 and deltas.
        self._unused_start: list[Tensor] | None = None
        self._unused_stacks: list[DeltaStack] = []
        # The row of every phase that is open, and the phases that have ended.
        self._rows: dict[str, int] = {}
        self._ended: set[str] = set()
        #: A stack per parameter, with a row for every phase that is open. The first delta allocates them.
        self.stacks: list[DeltaStack] = []

    @property
    def buffers(self) -> dict[str, Tensor]:
        """`dict[str, torch.Tensor]`: The model's current buffers."""
        return self._buffers.current

    @property
    def is_open(self) -> bool:
        """`bool`: Whether θ0 is held: between the first phase of a plan with forks and its merge."""
        return self._start is not None

    @property
    def phases(self) -> list[str]:
        """`list[str]`: Finished phases, sorted by name. Sums run in this order, whatever order the phases ran in."""
        return sorted(self._ended)

    def delta(self, phase: str) -> dict[str, Tensor]:
        """`dict[str, torch.Tensor]`: δ of a finished phase by parameter name, as stored. Not a copy."""
        if phase not in self._ended:
            raise KeyError(phase)
        return {name: stack.row(self._rows[phase]) for name, stack in zip(self.names, self.stacks, strict=True)}

    def start(self) -> dict[str, Tensor]:
        """`dict[str, torch.Tensor]`: θ0 by parameter name, as stored. Not a copy."""
        return dict(zip(self.names, self._opened(), strict=True))

    @torch.no_grad()
    def open(self, phases: Collection[str]) -> None:
        """
        Takes the model's current parameters and buffers as θ0.

        Args:
            phases (`Collection[str]`): Names of the phases that may leave a delta.

        Raises:
            RuntimeError: If parameters have become trainable that were not.
        """
        self._parameters.check_complete()
        shards = self._parameters.shards()
        into: Sequence[Tensor | None] = self._unused_start or [None] * len(shards)
        self._start = [self._storage.store(shard, old) for shard, old in zip(shards, into, strict=True)]
        self._rows = {phase: row for row, phase in enumerate(sorted(phases))}
        self._buffers.open()

    @torch.no_grad()
    def rewind(self) -> None:
        """Writes θ0 and its buffers into the model."""
        self._parameters.write(self._opened())
        self._buffers.rewind()

    @torch.no_grad()
    def record(self, phase: str, keep_buffers: bool = False) -> None:
        """
        Records δ = θ − θ0 of the phase that has just ended.

        Args:
            phase (`str`): The phase's name.
            keep_buffers (`bool`, *optional*, defaults to `False`): Whether the merge takes this phase's buffers.
        """
        start = self._opened()
        for stack, theta, theta0 in zip(self._allocated(), self._parameters.shards(), start, strict=True):
            stack.record(self._rows[phase], theta, theta0)
        self._ended.add(phase)
        if keep_buffers:
            self._buffers.keep()

    @torch.no_grad()
    def share(self, phase: str, source: int, keep_buffers: bool = False) -> None:
        """
        Gives every process the delta of a phase that one of them has run. All processes must call it.

        Args:
            phase (`str`): The phase's name.
            source (`int`): Rank of the process that has recorded the delta.
            keep_buffers (`bool`, *optional*, defaults to `False`): Whether the merge takes this phase's buffers.

        Raises:
            RuntimeError: On every process, if the source has not recorded the delta.
        """
        shards = self._parameters.shards()
        has_run = torch.tensor([float(phase in self._ended)], device=shards[0].device)
        dist.broadcast(has_run, source)
        if not has_run.item():  # on every process, so that none waits for a delta that does not come
            raise RuntimeError(f"process {source} cannot share the delta of phase {phase!r}: it has not run the phase")
        row = self._rows[phase]
        for stack, shard in zip(self._allocated(), shards, strict=True):
            # Processes exchange tensors of the parameters' device. On a receiver, the broadcast overwrites the values.
            sent = stack.row(row).to(shard.device)
            dist.broadcast(sent, source)
            stack.write(row, sent)
        self._ended.add(phase)
        if keep_buffers:
            self._buffers.share(source)

    def model_norm(self, order: float) -> Tensor:
        """`torch.Tensor`: Norm of the model's current parameters; see [`TrainableParameters.norm`]."""
        return self._parameters.norm(order)

    def coefficients(self, by_phase: Mapping[str, float]) -> Tensor:
        """
        Coefficients that are equal in all groups of parameters.

        Args:
            by_phase (`Mapping[str, float]`): Coefficient by phase. Phases that are left out have 0.

        Returns:
            `torch.Tensor`: Of shape `(phases, groups)`, float64.
        """
        rows = [[by_phase.get(phase, 0.0)] * len(self.groups) for phase in self.phases]
        return torch.tensor(rows, dtype=torch.float64)

    @torch.no_grad()
    def combine(self, coefficients: Tensor) -> None:
        """
        Sets the model to θ0 + Σ c_p δ_p, with the kept buffers.

        Args:
            coefficients (`torch.Tensor`): c, of shape `(phases, groups)`.
        """
        start, rows = self._opened(), self._ended_rows()
        self._parameters.reshard()
        shards = self._parameters.shards()
        # A coefficient beyond a parameter's dtype becomes infinite.
        rounded = {dtype: coefficients.to(dtype) for dtype in {shard.dtype for shard in shards}}
        for stack, theta, theta0, column in zip(self._allocated(), shards, start, self._columns, strict=True):
            of_group = None if column is None else rounded[theta.dtype][:, column]
            stack.merge_into(theta, theta0, rows, of_group)
        self._buffers.merge()

    @torch.no_grad()
    def inner_products(self, gradients: Sequence[Tensor | None]) -> Tensor:
        """
        ⟨g, δ_p⟩ over every group of parameters: the gradient with respect to the coefficients.

        Args:
            gradients (`Sequence[torch.Tensor | None]`): One gradient per parameter; `None` counts as zero.

        Returns:
            `torch.Tensor`: Of shape `(phases, groups)`, float64, on the parameters' device.
        """
        rows = self._ended_rows()
        zero = torch.zeros(len(rows), dtype=torch.float64, device=self.parameters[0].device)
        terms: list[list[Tensor]] = [[] for _ in self.groups]
        for stack, gradient, column in zip(self._allocated(), gradients, self._columns, strict=True):
            if gradient is not None and column is not None:
                terms[column].append(stack.products(gradient, rows))
        sums = [torch.stack(products).sum(dim=0, dtype=torch.float64) if products else zero for products in terms]
        return torch.stack(sums, dim=1)

    @torch.no_grad()
    def gramians(self) -> Tensor:
        """
        ⟨δ_p, δ_q⟩ of all pairs of phases, for every trainable parameter.

        Returns:
            `torch.Tensor`: Of shape `(parameters, phases, phases)`, float64, on the parameters' device.
        """
        rows, device = self._ended_rows(), self.parameters[0].device
        products = [stack.gramian(rows) for stack in self._allocated()]
        # Stacked first: one copy to the parameters' device, if deltas are kept elsewhere.
        return torch.stack([of_parameter.double() for of_parameter in products]).to(device)

    def close(self) -> None:
        """
        Forgets θ0 and the deltas. The model keeps its current parameters.

        The next epoch uses memory of the CPU again, because new memory of that size takes longer to get than to fill.
        """
        if self._start is not None and all(start.device.type == "cpu" for start in self._start):
            self._unused_start, self._unused_stacks = self._start, self.stacks or self._unused_stacks
        self._start, self._rows, self._ended, self.stacks = None, {}, set(), []
        self._buffers.close()

    def free(self) -> None:
        """Closes the bank, and gives back its memory."""
        self.close()
        self._unused_start, self._unused_stacks = None, []

    @contextmanager
    def start_in_model(self) -> Iterator[None]:
        """Puts θ0 into the model for the duration of a `with` block, for evaluation and saving."""
        if not self.is_open:
            yield
            return
        running = [self._storage.store(shard) for shard in self._parameters.shards()]
        running_buffers = self._buffers.copies()
        self.rewind()
        try:
            yield
        finally:
            self._parameters.write(running)
            self._buffers.write(running_buffers)

    def state_tensors(self, with_parameters: bool = True) -> dict[str, Tensor]:
        """
        What a checkpoint needs besides θ0, which it holds as its model.

        Args:
            with_parameters (`bool`, *optional*, defaults to `True`):
                Whether a phase is running, which continues from the current parameters.

        Returns:
            `dict[str, torch.Tensor]`: `theta/<name>`, `delta/<phase>/<name>`, `buffer/<name>`, `kept_buffer/<name>`;
            empty if θ0 is not held.
        """
        if not self.is_open:
            return {}
        shards = zip(self.names, self._parameters.shards(), strict=True)
        tensors = {f"theta/{name}": shard.detach() for name, shard in shards} if with_parameters else {}
        for phase in self.phases:
            tensors.update({f"delta/{phase}/{name}": delta for name, delta in self.delta(phase).items()})
        return tensors | self._buffers.state_tensors()

    @torch.no_grad()
    def load_state_tensors(self, tensors: Mapping[str, Tensor], phases: Sequence[str]) -> None:
        """
        Inverse of [`state_tensors`]. Call [`open`] first, while the model holds θ0.

        Args:
            tensors (`Mapping[str, torch.Tensor]`): What [`state_tensors`] returned.
            phases (`Sequence[str]`): The finished phases.

        Raises:
            KeyError: If a tensor of a trainable parameter or of a buffer is missing.
        """
        for phase in phases:
            for name, stack in zip(self.names, self._allocated(), strict=True):
                stack.write(self._rows[phase], tensors[f"delta/{phase}/{name}"])
            self._ended.add(phase)
        if any(name.startswith("theta/") for name in tensors):
            self._parameters.write([tensors[f"theta/{name}"] for name in self.names])
        self._buffers.load_state_tensors(tensors)

    def _allocated(self) -> list[DeltaStack]:
        if not self.stacks and all(len(stack.matrix) == len(self._rows) for stack in self._unused_stacks):
            self.stacks, self._unused_stacks = self._unused_stacks, []
        if not self.stacks:
            classes, shards = self._stack_classes, self._parameters.shards()
            self._unused_stacks = []
            self.stacks = [
                of_parameter(len(self._rows), shard, self._storage)
                for of_parameter, shard in zip(classes, shards, strict=True)
            ]
        return self.stacks

    def _ended_rows(self) -> list[int]:
        return [self._rows[phase] for phase in self.phases]

    def _opened(self) -> list[Tensor]:
        if self._start is None:
            raise RuntimeError("no θ0 is held: call open() first")
        return self._start
