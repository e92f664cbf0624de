"""Evaluation and prediction take the longest rows first; what they return is in the order of the rows."""

import numpy as np
import pytest

from support.forking import fork_runs
from support.toy_run import TARGET, RecordingTrainer, WithLengths, accuracy, toy_args, toy_data, toy_model

LENGTHS = [3, 50, 7, 7, 120, 1, 30, 64, 9, 11]


class WatchingTrainer(RecordingTrainer):
    """Notes in which order rows are read."""

    def prediction_step(self, model, inputs, *args, **kwargs):
        self.read = [*getattr(self, "read", []), *inputs["x"][:, 0].tolist()]
        return super().prediction_step(model, inputs, *args, **kwargs)


def by_place(prediction):
    """A metric that depends on the order of the rows."""
    places = np.arange(len(prediction.label_ids))
    return accuracy(prediction) | {
        "logit": float(prediction.predictions[:, 0] @ places),
        "label": float(prediction.label_ids @ places),
        "loss_by_place": float(np.asarray(prediction.losses) @ places),
    }


def evaluated(output_dir, length_grouping, **settings):
    train, meta = toy_data()
    lengths = [LENGTHS[row % len(LENGTHS)] + row % 3 for row in range(len(meta))]
    settings = {"per_device_eval_batch_size": 4, "include_for_metrics": ["loss"], **settings}
    trainer = WatchingTrainer(
        model=toy_model(),
        args=toy_args(output_dir, length_grouping=length_grouping, **settings),
        train_dataset=train,
        eval_dataset={TARGET: WithLengths(meta, lengths)},
        compute_metrics=by_place,
    )
    scores = trainer.evaluate()
    predicted = trainer.predict(WithLengths(meta, lengths))
    given = trainer.evaluate(WithLengths(meta, lengths), metric_key_prefix="given")
    half = len(trainer.read) // 3
    return {
        "scores": {name: value for name, value in scores.items() if name.startswith(f"eval_{TARGET}_")},
        "given": {name: value for name, value in given.items() if name.startswith(f"given_{TARGET}_")},
        "predictions": predicted.predictions,
        "labels": predicted.label_ids,
        "metrics": predicted.metrics,
        "read": trainer.read[:half],
        "lengths": lengths,
    }


TIMES = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")


def without_times(scores):
    return {name: value for name, value in scores.items() if not name.endswith(TIMES)}


def assert_same(grouped, plain):
    np.testing.assert_allclose(grouped["predictions"], plain["predictions"], atol=1e-12)
    np.testing.assert_array_equal(grouped["labels"], plain["labels"])
    for kind in ("scores", "given", "metrics"):
        mine, theirs = without_times(grouped[kind]), without_times(plain[kind])
        # Trainer gives every row of a batch the mean loss of its batch, so losses by row depend on the batches.
        mine = {name: value for name, value in mine.items() if "loss_by_place" not in name}
        assert mine.keys() <= theirs.keys()
        assert mine == pytest.approx({name: theirs[name] for name in mine}, abs=1e-9), kind


def test_outputs_are_in_the_order_of_the_rows(tmp_path):
    plain, grouped = evaluated(tmp_path / "plain", "off"), evaluated(tmp_path / "grouped", "on")
    assert_same(grouped, plain)
    first = toy_data()[1]
    x = [float(first[row]["x"][0]) for row in range(len(first))]
    assert plain["read"] == x
    longest_first = sorted(range(len(x)), key=lambda row: -grouped["lengths"][row])
    assert grouped["read"] == [x[row] for row in longest_first]


def test_trainer_s_own_strategy_does_not_change_the_order_of_outputs(tmp_path):
    assert_same(
        evaluated(tmp_path / "grouped", "auto", train_sampling_strategy="group_by_length"),
        evaluated(tmp_path / "plain", "off"),
    )


@pytest.mark.parametrize("settings", [{}, {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}])
def test_loaders_that_a_user_asks_for_have_the_order_of_the_rows(settings, tmp_path):
    train, meta = toy_data()
    rows = WithLengths(meta, [LENGTHS[row % len(LENGTHS)] for row in range(len(meta))])
    args = toy_args(tmp_path, length_grouping="on", **settings)
    trainer = WatchingTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset={TARGET: rows})
    trainer.evaluate()
    wanted = [float(meta[row]["x"][0]) for row in range(len(meta))]
    assert trainer.read != wanted  # the loader of the evaluation
    for loader in (
        trainer.get_eval_dataloader(),
        trainer.get_eval_dataloader(TARGET),
        trainer.get_test_dataloader(rows),
    ):
        assert [value for batch in loader for value in batch["x"][:, 0].tolist()] == wanted


@pytest.mark.distributed
def test_two_processes(tmp_path):
    runs = [{"output_dir": str(tmp_path / mode), "length_grouping": mode} for mode in ("off", "on")]
    plain, grouped = fork_runs(evaluated, runs, "ddp", 2)
    assert_same(grouped, plain)
