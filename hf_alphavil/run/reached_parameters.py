"""The parameters to which a loss has a gradient."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn


def reached_parameters(loss: Tensor, parameters: Sequence[nn.Parameter], known: Collection[int] = ()) -> set[int]:
    """
    Numbers of the parameters to which a loss has a gradient.

    The graph of the loss tells which they may be. The backward pass runs to those that are not known and to the
    farthest of the others: it passes through all depths of the graph, but computes few gradients.

    Args:
        loss (`torch.Tensor`): The loss, which requires gradients.
        parameters (`Sequence[torch.nn.Parameter]`): The parameters.
        known (`Collection[int]`, *optional*): Numbers of parameters to which another loss had a gradient.
    """
    found = _in_graph(loss, parameters)
    tried = [number for number in found if number not in known]
    tried += [number for number in found if number in known][-1:]
    if tried and len(_with_gradient(loss, parameters, tried)) == len(tried):
        return set(found)
    # Some function on the way gives no gradient, or hides what it computes from.
    return _with_gradient(loss, parameters, range(len(parameters)))


def _in_graph(loss: Tensor, parameters: Sequence[nn.Parameter]) -> list[int]:
    """Numbers of the parameters from which a loss was computed, those nearest to it first."""
    numbers = {id(parameter): number for number, parameter in enumerate(parameters)}
    found: list[int] = []
    seen: set[Any] = set()
    queue: deque[Any] = deque([loss.grad_fn])
    while queue:
        node = queue.popleft()
        if node is None or node in seen:
            continue
        seen.add(node)
        number = numbers.get(id(getattr(node, "variable", None)))
        if number is not None:
            found.append(number)
        queue.extend(following for following, _ in node.next_functions)
    return found


def _with_gradient(loss: Tensor, parameters: Sequence[nn.Parameter], tried: Sequence[int]) -> set[int]:
    wanted = [parameters[number] for number in tried]
    gradients = torch.autograd.grad(loss, wanted, allow_unused=True, retain_graph=True)
    return {number for number, gradient in zip(tried, gradients, strict=True) if gradient is not None}
