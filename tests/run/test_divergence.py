"""A loss that becomes NaN: the phase is undone and reported, and the run goes on. If no phase is left, it stops."""

import math
import re
from collections import Counter

import pytest
import torch
from transformers import TrainerCallback

from hf_alphavil import MultitaskCallback
from hf_alphavil.checkpointing.folder import checkpoints
from hf_alphavil.data import EpochPlan, Phase
from hf_alphavil.methods import METHODS
from hf_alphavil.methods.base import Method
from hf_alphavil.run.divergence import DivergenceError
from support.faults import diverging_run
from support.forking import fork_runs
from support.poisoned_run import RUN, STEPS_PER_EPOCH, Poison, trainer
from support.toy_run import run_toy, toy_trainer


class OptimizerStates(TrainerCallback):
    """The optimizer's state at the first step of every phase, by (epoch, phase)."""

    def __init__(self):
        self.states = {}

    def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
        epoch, in_epoch = divmod(state.global_step, STEPS_PER_EPOCH)
        if in_epoch % 3 == 0:
            entries = optimizer.state_dict()["state"]
            self.states[epoch, "abc"[in_epoch // 3]] = [
                entry["exp_avg"].clone() for _, entry in sorted(entries.items())
            ]


def all_equal(one, other):
    return len(one) == len(other) and all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize(
    "settings",
    [{}, {"optimizer_state_dtype": "bfloat16"}, {"phase_optimizer_state": "reset"}],
    ids=["per_task", "rounded", "reset"],
)
def test_a_diverged_phase_is_dropped(value, settings, tmp_path, caplog):
    """Step 4 of epoch 2's phase of `b` (the run's steps 12 to 14) diverges."""
    states = OptimizerStates()
    run = trainer(tmp_path, Poison([13], value), states, **settings, logging_strategy="epoch")
    run.train()
    assert re.search(
        r"loss of task 'b' became NaN or infinite at step 2 of 3 of the phase 'b' in epoch 2: its δ is dropped",
        caplog.text,
    )
    first, second, third = run.epochs
    assert set(first["delta"]) == set(third["delta"]) == {"a", "b", "c"}
    assert set(second["delta"]) == {"a", "c"}
    record = run.history[1]
    for name, merged in second["theta"].items():
        expected = second["theta0"][name] + sum(
            record["alpha"][task] * second["delta"][task][name] for task in ("a", "c")
        )
        torch.testing.assert_close(merged, expected, rtol=0, atol=1e-12)
        assert torch.isfinite(run.epochs[2]["theta"][name]).all()
    assert [entry["dropped"] for entry in run.history] == [{}, {"b": 1}, {}]
    assert record["alpha"].keys() == second["delta"].keys()
    logs = [entry for entry in run.state.log_history if "alpha_a" in entry]
    assert ["alpha_b" in entry for entry in logs] == [True, False, True]
    assert record["task_weights"]["b"] == record["task_weights_used"]["b"]
    if "phase_optimizer_state" not in settings:
        # b's next phase starts from the same state as the dropped phase. The states of other tasks have changed.
        assert all_equal(states.states[1, "b"], states.states[2, "b"])
        assert not all_equal(states.states[1, "c"], states.states[2, "c"])
    assert any("loss_b" in entry and not 0 < entry["loss_b"] < 100 for entry in run.state.log_history)


def test_other_phases_are_unaffected(tmp_path):
    """Up to the merge, δ of the other tasks are those of a run without the fault."""
    whole, faulty = trainer(tmp_path / "1"), trainer(tmp_path / "2", Poison([3]))
    whole.train(), faulty.train()
    for task in ("a", "c"):
        for name, delta in whole.epochs[0]["delta"][task].items():
            assert torch.equal(delta, faulty.epochs[0]["delta"][task][name])


def test_a_dropped_phase_resumes(tmp_path):
    """From inside the phase that diverges, before and after its NaN, and after it."""
    whole = trainer(tmp_path / "whole", Poison([13]), save_strategy="steps", save_steps=1)
    whole.train()
    for step in (13, 14, 15, 16, 18):
        resumed = trainer(tmp_path / "resumed", Poison([13]))
        resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / f"checkpoint-{step}"))
        assert resumed.history == whole.history
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), (step, name)


@pytest.mark.parametrize(
    ("settings", "poisoned", "label"),
    [
        ({}, 1, "b (round 1)"),
        ({}, 6, "b (round 2)"),
        ({"target_phase": "last"}, 2, "(target) (round 1)"),  # after a step each of b and c
    ],
)
def test_a_phase_that_diverged_in_one_round_is_told_from_that_of_another(settings, poisoned, label, tmp_path):
    """What the callback and the history say, against the losses of the phases."""
    told, happened = [], []

    class Ends(MultitaskCallback):
        def on_phase_end(self, args, state, control, *, phase, losses, diverged, **kwargs):
            told.append((phase.name, diverged))
            happened.append((phase.name, not all(map(math.isfinite, losses.values()))))

    run = trainer(tmp_path, Poison([poisoned]), Ends(), rounds_per_epoch=2, num_train_epochs=1, **settings)
    run.train()
    assert told == happened
    (number,) = [number for number, (_, diverged) in enumerate(told) if diverged]
    name = told[number][0]
    assert [other for other, _ in told].count(name) == 2
    nth = 1 + [other for other, _ in told[:number]].count(name)
    assert [*run.history[0]["dropped"]] == [f"{name} (round {nth})"] == [label]


class TargetSteps(MultitaskCallback):
    """The steps of the target in each phase, and the phases that were kept, as the run shows them."""

    def __init__(self):
        self.steps, self.kept = Counter(), []

    def on_step_end(self, args, state, control, **kwargs):
        self.steps[state.phase] += state.task == "a"

    def on_phase_end(self, args, state, control, *, phase, losses, **kwargs):
        if all(map(math.isfinite, losses.values())):
            self.kept.append(phase.name)


@pytest.mark.parametrize(("poisoned", "dropped"), [([0], ["(joint)"]), ([3], ["a"]), ([], [])])
def test_steps_that_were_undone_are_none_of_the_target_s_steps_in_a_row(poisoned, dropped, tmp_path):
    """The target has steps in the joint phase, which has three, and in its own fork."""
    seen = TargetSteps()
    run = trainer(tmp_path, Poison(poisoned), seen, joint_fraction=0.3, num_train_epochs=1)
    run.train()
    assert seen.steps["(joint)"] > 0 < seen.steps["a"]
    assert seen.kept == [name for name in ("(joint)", "a", "b", "c") if name not in dropped]
    assert run.history[0]["target_steps_in_a_row"] == sum(seen.steps[phase] for phase in seen.kept)


def test_layers_of_a_dropped_fork_have_no_alpha(tmp_path):
    settings = {"alpha_granularity": "layer", "alpha_optimizer": "secant", "num_train_epochs": 1}
    run = trainer(tmp_path, Poison([4]), **settings)
    run.train()
    ((recorded,), (entry,)) = run.epochs, run.history
    assert entry["alpha_by_layer"].keys() == entry["alpha"].keys() == recorded["delta"].keys() == {"a", "c"}


def test_a_diverged_joint_phase_is_undone(tmp_path, caplog):
    run = trainer(tmp_path, Poison([1]), joint_fraction=0.3, num_train_epochs=1)
    start = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.train()
    assert "of the phase '(joint)' in epoch 1: it is undone" in caplog.text
    for name, tensor in run.epochs[0]["theta0"].items():
        assert torch.equal(tensor, start[name])
    assert run.history[0]["dropped"] == {"(joint)": 1}


def test_a_diverged_phase_of_the_target_after_the_merge_is_undone(tmp_path, caplog):
    merged = {}

    class KeepMerged(TrainerCallback):
        def on_step_begin(self, args, state, control, model=None, **kwargs):
            if state.global_step == 6:  # after three steps each of b and c
                merged.update({name: p.detach().clone() for name, p in model.named_parameters()})

    run = trainer(tmp_path, Poison([7]), KeepMerged(), target_phase="last", num_train_epochs=1)
    start = {name: p.detach().clone() for name, p in run.model.named_parameters()}
    run.train()
    assert "of the phase '(target)' in epoch 1: it is undone" in caplog.text
    assert run.history[0]["dropped"] == {"(target)": 1}
    for name, p in run.model.named_parameters():
        assert torch.equal(p, merged[name])
    assert not all(torch.equal(merged[name], start[name]) for name in merged)


def test_a_round_without_a_delta_stops_the_run(tmp_path):
    run = trainer(tmp_path, Poison([0, 3]), target_phase="last")
    with pytest.raises(DivergenceError, match=r"every task's loss .* in epoch 1"):
        run.train()


def test_all_diverged(tmp_path):
    """The run stops, leaves the last merged model, and names the last checkpoint before the epoch."""
    run = trainer(tmp_path, Poison([10, 13, 16]), save_strategy="steps", save_steps=4)
    with pytest.raises(DivergenceError, match=r"every task's loss .* in epoch 2.* is .*checkpoint-8: resume from it"):
        run.train()
    for name, p in run.model.named_parameters():
        assert torch.equal(p, run.epochs[0]["theta"][name])
    anew = trainer(tmp_path / "other", Poison([1, 4, 7]))
    with pytest.raises(DivergenceError, match="No good checkpoint was written: start anew"):
        anew.train()


@pytest.mark.parametrize("method", ["multitask", "single"])
def test_methods_of_one_phase_stop(method, tmp_path):
    run = trainer(tmp_path, Poison([2]), method=method, save_strategy="steps", save_steps=2)
    with pytest.raises(DivergenceError, match=r"at step 3 of epoch 1.*checkpoint-2: resume from it"):
        run.train()
    assert [path.name for path in checkpoints(tmp_path)] == ["checkpoint-2"]  # none with NaN in it


class PoisonParameters(TrainerCallback):
    """Makes parameters NaN while losses are still finite: a gradient that overflows does so."""

    def __init__(self, step):
        self.step = step

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            with torch.no_grad():
                next(model.parameters()).fill_(float("nan"))


@pytest.mark.parametrize("settings", [{"save_steps": 2}, {"save_steps": 2, "save_only_model": True}], ids=str)
def test_no_checkpoint_holds_nan(settings, tmp_path):
    """Parameters that diverge at step 8, an epoch's last but one, before any loss shows it."""
    run = trainer(tmp_path, PoisonParameters(7), method="multitask", save_strategy="steps", **settings)
    with pytest.raises(DivergenceError, match=r"^the parameters became NaN .* by step 8 of epoch 1"):
        run.train()
    assert checkpoints(tmp_path)[0].name == "checkpoint-6"


def test_a_phase_whose_parameters_diverged_is_not_blamed_on_a_loss(tmp_path, caplog):
    run = trainer(tmp_path, PoisonParameters(5), num_train_epochs=1)
    run.train()
    assert "The parameters became NaN or infinite by step 3 of 3 of the phase 'b' in epoch 1: its δ is" in caplog.text
    assert "of task '" not in caplog.text
    assert run.history[0]["dropped"] == {"b": 2}


def test_the_step_of_a_later_phase_is_counted_from_the_start_of_the_epoch(tmp_path, monkeypatch):
    class OneTaskAfterTheOther(Method):
        name = "one_after_the_other"
        separates_phases = True

        def plan(self, epoch, steps):
            phases = tuple(Phase(task, ((task,),) * 3) for task in steps)
            return EpochPlan(epoch, phases, 3 * len(phases))

    monkeypatch.setitem(METHODS, OneTaskAfterTheOther.name, OneTaskAfterTheOther)
    with pytest.raises(DivergenceError, match="the loss of task 'b' became NaN or infinite at step 5 of epoch 1"):
        trainer(tmp_path, Poison([4]), method=OneTaskAfterTheOther.name).train()


def test_a_run_that_ends_inside_an_epoch_does_not_end_in_nan(tmp_path):
    with pytest.raises(DivergenceError, match="at step 4 of epoch 1"):
        trainer(tmp_path, Poison([3]), method="multitask", max_steps=5).train()


def test_a_merge_that_overflows_stops_the_run(tmp_path):
    """δ are finite, and their sum is not."""

    class Overflow(TrainerCallback):
        def on_optimizer_step(self, args, state, control, model=None, **kwargs):
            with torch.no_grad():
                next(model.parameters()).fill_(torch.finfo(torch.float64).max * 0.9)

    run = trainer(tmp_path, Overflow(), max_phase_steps=1, save_strategy="epoch")
    with pytest.raises(DivergenceError, match="merged parameters are NaN or infinite in epoch 1"):
        run.train()
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


class NotANumber(TrainerCallback):
    """After a step, the model's losses in evaluation mode are NaN, though its parameters stay finite."""

    def __init__(self, step):
        self.step = step

    def on_step_end(self, args, state, control, model=None, **kwargs):
        if state.global_step == self.step:
            model.encoder.register_forward_hook(
                lambda module, inputs, output: output if module.training else output * float("nan")
            )


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"alpha_optimizer": "lbfgs"},
        {"alpha_optimizer": "gradient_free"},
        {"alpha_optimizer": "secant"},
        {"alpha_objective": "entropy"},
        {"method": "diw"},
        {"method": "forkmerge"},
    ],
    ids=str,
)
def test_a_merge_whose_loss_is_nan_is_a_divergence(settings, tmp_path):
    run = trainer(tmp_path, NotANumber(7 if settings.get("method") != "forkmerge" else 14), **settings)
    with pytest.raises(DivergenceError, match="target's loss under the merged parameters is NaN or infinite in epoch"):
        run.train()


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_an_alpha_beyond_float32_falls_back_to_its_start(optimizer, tmp_path, caplog):
    settings = {"alpha_optimizer": optimizer, "alpha_learning_rate": 1e200, "num_train_epochs": 2, "noisy": True}
    result = run_toy(tmp_path, **settings)
    assert [entry["alpha_diverged"] for entry in result["history"]] == [True, True]
    assert [set(entry["alpha"].values()) for entry in result["history"]] == [{1.0}, {1.0}]
    assert "falls back to its start" in caplog.text


def test_the_score_of_nan_predictions_is_nan(tmp_path):
    """The class of NaN logits is the first one, which may well be right."""
    run = toy_trainer(tmp_path, metric_for_best_model="accuracy")
    meta = run.runner.objectives.meta
    assert meta.has_metric
    assert 0 < meta.score(range(40)) <= 1
    run.model.encoder.register_forward_hook(lambda module, inputs, output: output * float("nan"))
    assert math.isnan(meta.score(range(40)))


@pytest.mark.distributed
def test_ranks_agree(tmp_path):
    run = {"output_dir": str(tmp_path), **RUN, "per_device_train_batch_size": 2}
    (results,) = fork_runs(diverging_run, [run], "ddp", 2)
    assert results["dropped"] == [[{}, {"b": 1}, {}], [{}, {"b": 1}, {}]]
    assert results["checksums"][0] == results["checksums"][1]
