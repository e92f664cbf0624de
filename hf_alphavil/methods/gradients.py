"""The gradients of several tasks in one optimizer step. Tensors only: no data, no losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ..distributed.gradient_exchange import Gradient, add_gradient


class TaskGradients:
    """
    Holds a separate gradient for every task's loss, and puts combinations of them into the parameters' `.grad`.

    Gradients are kept by reference, without copies. A parameter is shared if the losses of at least two tasks reach
    it; all others belong to heads.

    Args:
        parameters (`Sequence[torch.nn.Parameter]`): The trainable parameters.
    """

    def __init__(self, parameters: Sequence[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        self._by_task: dict[str, Gradient] = {}

    @contextmanager
    def of(self, task: str) -> Iterator[None]:
        """
        Adds the gradients of the backward passes in a `with` block to a task's gradient. Outside, `.grad` is `None`.

        Args:
            task (`str`): The task.
        """
        before = self._by_task.get(task)
        for i, parameter in enumerate(self.parameters):
            parameter.grad = None if before is None else before[i]
        yield
        self._by_task[task] = [parameter.grad for parameter in self.parameters]
        for parameter in self.parameters:
            parameter.grad = None

    def exchange(self, over_ranks: Callable[[Gradient], Gradient]) -> None:
        """
        Replaces every task's gradient by its mean over ranks.

        Args:
            over_ranks (`Callable`): Maps a gradient to its mean over all ranks.
        """
        for task, gradient in self._by_task.items():
            self._by_task[task] = over_ranks(gradient)

    @property
    def shared(self) -> list[int]:
        """`list[int]`: Indices of the shared parameters, ascending."""
        reached = [sum(g[i] is not None for g in self._by_task.values()) for i in range(len(self.parameters))]
        return [i for i, count in enumerate(reached) if count > 1]

    def head_of(self, task: str) -> list[int]:
        """
        Indices of the parameters that only this task's loss reaches.

        Args:
            task (`str`): The task.
        """
        shared = set(self.shared)
        return [i for i, g in enumerate(self._by_task[task]) if g is not None and i not in shared]

    @torch.no_grad()
    def gramian(self) -> Tensor:
        """`torch.Tensor`: ⟨g_s, g_t⟩ over the shared parameters, of shape `(T, T)`, float64, on the CPU."""
        shared = self.shared
        products = [rows @ rows.T for rows in map(self._rows, shared)]
        size = len(self._by_task)
        if not products:
            return torch.zeros(size, size, dtype=torch.float64)
        return torch.stack(products).sum(dim=0, dtype=torch.float64).cpu()

    @torch.no_grad()
    def norms(self, number: int) -> Tensor:
        """
        ‖g_t‖ of every task over one parameter.

        Args:
            number (`int`): The parameter's index.

        Returns:
            `torch.Tensor`: Of shape `(T,)`, float64, on the CPU.
        """
        return self._rows(number).double().norm(dim=1).cpu()

    @torch.no_grad()
    def inner_products(self, vector: Sequence[Tensor | None], over: Sequence[int] | None = None) -> Tensor:
        """
        ⟨v, g_t⟩ of every task.

        Args:
            vector (`Sequence[torch.Tensor | None]`): One tensor per parameter; `None` counts as zero.
            over (`Sequence[int]`, *optional*): Indices of the parameters to sum over. Defaults to all.

        Returns:
            `torch.Tensor`: Of shape `(T,)`, float64, on the CPU.
        """
        numbers = range(len(self.parameters)) if over is None else over
        given = [(i, v) for i in numbers if (v := vector[i]) is not None]
        products = [self._rows(i) @ v.flatten() for i, v in given]
        if not products:
            return torch.zeros(len(self._by_task), dtype=torch.float64)
        return torch.stack(products).sum(dim=0, dtype=torch.float64).cpu()

    @torch.no_grad()
    def combination(self, coefficients: Mapping[str, float]) -> Gradient:
        """
        The combination Σ c_t g_t of the tasks' gradients.

        Args:
            coefficients (`Mapping[str, float]`): c_t by task. Tasks that are left out have 0.

        Returns:
            `list[torch.Tensor | None]`: One tensor per parameter, not to be changed in place; `None` where no task's
            loss reaches.
        """
        total: Gradient = [None] * len(self.parameters)
        for task, coefficient in coefficients.items():
            add_gradient(total, self._by_task[task], coefficient)
        return total

    @torch.no_grad()
    def put(self, shared: Mapping[str, float], heads: Mapping[str, float]) -> None:
        """
        Sets `.grad` to Σ c_t g_t, with separate coefficients for shared parameters and heads.

        Args:
            shared (`Mapping[str, float]`): c_t by task for the shared parameters.
            heads (`Mapping[str, float]`): c_t by task for the parameters that only one task's loss reaches.
        """
        is_shared = set(self.shared)
        for i, parameter in enumerate(self.parameters):
            coefficients = shared if i in is_shared else heads
            for task, gradient in self._by_task.items():
                if (own := gradient[i]) is not None:
                    weighted = own * coefficients[task]
                    parameter.grad = weighted if parameter.grad is None else parameter.grad.add_(weighted)

    @torch.no_grad()
    def move(self, vector: Sequence[Tensor | None], scale: float) -> None:
        """
        Adds `scale · vector` to the parameters.

        Args:
            vector (`Sequence[torch.Tensor | None]`): One tensor per parameter; `None` leaves the parameter unchanged.
            scale (`float`): Factor of the vector.
        """
        for parameter, tensor in zip(self.parameters, vector, strict=True):
            if tensor is not None:
                parameter.add_(tensor, alpha=scale)

    @contextmanager
    def kept(self, numbers: Sequence[int]) -> Iterator[None]:
        """
        Restores parameters, bit for bit, after a `with` block that moves them.

        Args:
            numbers (`Sequence[int]`): Indices of the parameters.
        """
        values = [self.parameters[i].detach().clone() for i in numbers]
        try:
            yield
        finally:
            with torch.no_grad():
                for i, value in zip(numbers, values, strict=True):
                    self.parameters[i].copy_(value)

    @contextmanager
    def moved(self, vector: Sequence[Tensor | None], scale: float) -> Iterator[None]:
        """
        Moves the parameters, as [`move`] does, for the duration of a `with` block.

        Args:
            vector (`Sequence[torch.Tensor | None]`): As in [`move`].
            scale (`float`): As in [`move`].
        """
        with self.kept([i for i, tensor in enumerate(vector) if tensor is not None]):
            self.move(vector, scale)
            yield

    def clear(self) -> None:
        """Forgets all gradients."""
        self._by_task = {}

    def _rows(self, number: int) -> Tensor:
        """The tasks' gradients of one parameter, of shape `(T, elements)`."""
        zero = torch.zeros_like(self.parameters[number]).flatten()
        parts = [gradient[number] for gradient in self._by_task.values()]
        return torch.stack([zero if part is None else part.flatten() for part in parts])


def norm(vector: Sequence[Tensor | None]) -> float:
    """
    The norm ‖v‖ of a vector that is given in parts.

    Args:
        vector (`Sequence[torch.Tensor | None]`): Its parts; `None` counts as zero.
    """
    norms = [part.norm().double() for part in vector if part is not None]
    return torch.stack(norms).norm().item() if norms else 0.0
