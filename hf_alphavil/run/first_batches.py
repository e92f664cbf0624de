"""Looks at the losses before training, so that a task that cannot be trained is told by its name."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn

from ..data import TaskDataset
from ..data.generators import unchanged_generators
from ..distributed.fsdp import is_sharded, without_gradients
from ..methods import DeltaBank, Method
from ..objectives.factory import RunObjectives
from ..objectives.forward import deterministic_mode
from ..objectives.loss import TaskObjective
from ..setup.run_context import RunContext
from .reached_parameters import reached_parameters

logger = logging.getLogger(__name__)

#: Rows of which a loss is computed: one would hide a loss that compares rows, more would only cost time.
ROWS_OF_LOSS = 2


def check_first_batches(context: RunContext, method: Method, deltas: DeltaBank, objectives: RunObjectives) -> None:
    """
    Makes each task's first batch, and computes the loss of its shortest rows and its gradient, without dropout and
    without changing anything.

    All ranks look at the same rows: under FSDP2 they gather the parameters together. Call it when Trainer has prepared
    the model.

    Args:
        context (`RunContext`): The run's model, rows and settings.
        method (`Method`): The method.
        deltas (`DeltaBank`): The parameters.
        objectives (`RunObjectives`): The target's loss on the meta set.

    Raises:
        ValueError: If a loss cannot be computed or reaches no trainable parameter, if no parameter is shared by tasks
            and the method needs one, or if the method cannot work with the target's loss.
    """
    with unchanged_generators(), deterministic_mode(context.model), torch.compiler.set_stance("force_eager"):
        reached: dict[str, set[int]] = {}
        for task, dataset in context.setup.train_datasets.items():
            reached[task] = _reached(context, dataset, objectives.parameters, set().union(*reached.values()))
        _check_shared(reached, method, context.setup.target)
        if (objective := _loss_on_meta_set(context, method, objectives)) is not None:
            rows = _short_rows(context, objective.dataset, objective.micro_batch_size)
            with _named(context, f"the meta set of the target {context.setup.target!r}"), torch.no_grad():
                objective.local_loss(rows)
            if context.has_own_loss and type(objective) is TaskObjective:
                logger.warning(
                    "On the meta set, method %r measures the loss that the model returns, not that of your "
                    "`compute_loss` or `compute_loss_func`. If the two differ, let the model compute yours.",
                    method.name,
                )
        method.check_loss(deltas, objectives)


def _short_rows(context: RunContext, dataset: TaskDataset, batch_size: int) -> list[int]:
    """The shortest rows of a dataset's first batch or, where lengths are not known, the last ones."""
    batch = range(min(batch_size, len(dataset)))
    return context.setup.lengths.longest_first(dataset, batch)[-ROWS_OF_LOSS:]


def _reached(
    context: RunContext, dataset: TaskDataset, parameters: Sequence[nn.Parameter], known: set[int]
) -> set[int]:
    """
    Numbers of the parameters that the loss of a task's first rows reaches. Gradients of those that earlier tasks
    reached, `known`, are not computed again.
    """
    short = _short_rows(context, dataset, context.batch_size)
    rows = [dataset[row] for row in range(min(context.batch_size, len(dataset)))]
    with _named(context, f"task {dataset.task!r}"):
        context.collate(rows)
        loss = context.training_loss(context.collate([rows[row] for row in short]))
        reached: set[int] = set()
        if loss.requires_grad:
            sharded = is_sharded(context.model)
            reached = _with_shards(loss, parameters) if sharded else reached_parameters(loss, parameters, known)
    if not reached:
        raise ValueError(
            f"the loss of task {dataset.task!r} reaches no trainable parameter, so nothing would be trained on it: "
            "unfreeze its head or the encoder (`requires_grad_(True)`; with adapters, by `modules_to_save`), or leave "
            "the task out"
        )
    return reached


def _with_shards(loss: Tensor, parameters: Sequence[nn.Parameter]) -> set[int]:
    with without_gradients(parameters):  # only FSDP's hooks on backward() give gradients of the shards
        loss.backward()
        return {number for number, parameter in enumerate(parameters) if parameter.grad is not None}


def _check_shared(reached: dict[str, set[int]], method: Method, target: str) -> None:
    """Looks for auxiliaries that cannot change what the target's loss reaches."""
    apart = [task for task, own in reached.items() if task != target and not own & reached.get(target, own)]
    if not apart:
        return
    # A parameter is shared as soon as two tasks reach it, whichever they are.
    some_are_shared = sum(map(len, reached.values())) > len(set().union(*reached.values()))
    names = ", ".join(map(repr, apart))
    if method.needs_shared_parameters and not some_are_shared:
        raise ValueError(
            f"method {method.name!r} compares gradients of shared parameters, but no trainable parameter is shared by "
            "tasks: unfreeze the encoder (`requires_grad_(True)`), or pass method='multitask'"
        )
    logger.warning(
        "The target %r shares no trainable parameter with %s, so training on %s cannot change its predictions. Is the "
        "encoder frozen?",
        target, names, "it" if len(apart) == 1 else "them",
    )  # fmt: skip


def _loss_on_meta_set(context: RunContext, method: Method, objectives: RunObjectives) -> TaskObjective | None:
    """What the method measures on the meta set, unless that is a metric."""
    if not method.needs_meta_set:
        return None
    if method.fits_alpha and context.args.alpha_objective == "entropy":
        return objectives.meta_entropy()
    is_score = context.args.alpha_objective == "metric" if method.fits_alpha else method.measures_scores
    return None if is_score and objectives.meta.has_metric else objectives.meta


@contextlib.contextmanager
def _named(context: RunContext, what: str) -> Iterator[None]:
    """Adds the task's name to an error. `auto_find_batch_size` reads errors of full memory itself."""
    try:
        yield
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        if isinstance(error, torch.OutOfMemoryError) or context.args.auto_find_batch_size:
            raise
        raise ValueError(
            f"the loss of the first rows of {what} cannot be computed: {type(error).__name__}: {error}"
        ) from error
