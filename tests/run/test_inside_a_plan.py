"""Plans run whole: evaluations and stops wait for their end, errors leave the merged model, trainings start anew."""

import pytest
import torch
from transformers import TrainerCallback

from support.evaluating import evaluating_trainer
from support.toy_run import SIZES, run_toy, toy_model, toy_trainer


class StopAt(TrainerCallback):
    """Asks for a stop, or for an evaluation, at one step."""

    def __init__(self, step, flag="should_training_stop"):
        self.step, self.flag = step, flag

    def on_step_end(self, args, state, control, **kwargs):
        if state.global_step == self.step:
            setattr(control, self.flag, True)


def test_evaluation_inside_a_plan_is_deferred_to_its_end(tmp_path, caplog):
    trainer = evaluating_trainer(
        tmp_path,
        eval_strategy="steps",
        eval_steps=4,
        save_strategy="steps",
        save_steps=4,
        load_best_model_at_end=True,
        num_train_epochs=2,
    )
    trainer.train()
    steps = trainer.runner.plan.nominal_steps
    evaluated = [entry["step"] for entry in trainer.state.log_history if "eval_a_loss" in entry]
    assert evaluated == [steps, 2 * steps]
    assert caplog.text.count("An evaluation was due inside an epoch's plan") == 1
    # Best-model choice needs a checkpoint where it evaluates.
    assert trainer.state.best_model_checkpoint.endswith((f"-{steps}", f"-{2 * steps}"))


def test_direct_evaluation_inside_a_plan_uses_merged_parameters(tmp_path):
    seen = []

    class Evaluate(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if not state.global_step % 5:
                running = trainer.model.encoder[0].weight.clone()
                seen.append(trainer.evaluate()["eval_a_loss"])
                assert torch.equal(running, trainer.model.encoder[0].weight)

    trainer = evaluating_trainer(tmp_path, callbacks=[Evaluate()], num_train_epochs=1)
    before = trainer.evaluate()["eval_a_loss"]
    trainer.train()
    assert seen[:2] == [before, before]


def test_a_run_stopped_inside_a_plan_leaves_the_merged_model_and_resumes(tmp_path):
    whole = run_toy(tmp_path / "whole", num_train_epochs=2)
    settings = {"num_train_epochs": 2, "save_strategy": "steps", "save_steps": 1000}
    steps_per_plan = 15
    stopped = toy_trainer(tmp_path / "stopped", callbacks=[StopAt(steps_per_plan + 7)], **settings)
    stopped.train()
    assert len(stopped.history) == 1
    assert stopped.saved_steps == [steps_per_plan + 7]  # once, though Trainer asks at the epoch's end too
    for name, parameter in stopped.model.named_parameters():
        assert torch.equal(parameter, whole["epochs"][0]["theta"][name])
    resumed = run_toy(
        tmp_path / "resumed",
        resume_from_checkpoint=str(tmp_path / "stopped" / f"checkpoint-{steps_per_plan + 7}"),
        **settings,
    )
    assert resumed["history"] == whole["history"]
    for name, tensor in whole["state"].items():
        assert torch.equal(tensor, resumed["state"][name])


def test_an_error_inside_a_plan_leaves_the_merged_model(tmp_path):
    class Break(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 8:
                raise KeyboardInterrupt

    trainer = toy_trainer(tmp_path, callbacks=[Break()])
    with pytest.raises(KeyboardInterrupt):
        trainer.train()
    for mine, untouched in zip(trainer.model.parameters(), toy_model().parameters(), strict=True):
        assert torch.equal(mine, untouched)


@pytest.mark.parametrize("settings", [{"max_steps": 20}, {"num_train_epochs": 1.3}])
def test_runs_are_rounded_up_to_whole_plans(settings, tmp_path, caplog):
    trainer = toy_trainer(tmp_path, **settings)
    trainer.train()
    assert trainer.state.global_step == 30
    assert len(trainer.history) == 2
    assert "the run is rounded up to 2 epochs of 30 steps" in caplog.text
    assert trainer.state.epoch == pytest.approx(2.0)


def test_a_plan_is_run_to_its_end(tmp_path, caplog):
    whole = run_toy(tmp_path / "whole", num_train_epochs=2)
    asked = toy_trainer(tmp_path, callbacks=[StopAt(step, "should_epoch_stop") for step in (7, 8)], num_train_epochs=2)
    asked.train()
    assert asked.history == whole["history"]
    assert caplog.text.count("A callback asked to end the epoch inside its plan") == 1


class StopInsideStep(TrainerCallback):
    """Asks for the next epoch between the accumulated batches of a step."""

    def on_substep_end(self, args, state, control, **kwargs):
        control.should_epoch_stop = state.global_step == 4


@pytest.mark.parametrize("method", ["alphavil", "single"])
def test_a_step_is_run_to_its_end(method, tmp_path):
    trainer = toy_trainer(tmp_path, callbacks=[StopInsideStep()], gradient_accumulation_steps=2, method=method)
    with pytest.raises(RuntimeError, match=r"between the accumulated batches .* after step 4\)"):
        trainer.train()


def test_no_checkpoint_is_a_start(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1, eval_on_start=True)
    trainer.train(resume_from_checkpoint=False)
    assert [entry["step"] for entry in trainer.state.log_history if "eval_a_loss" in entry] == [0]


def test_a_second_training_starts_from_scratch(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    first = trainer.history
    trainer.train()
    assert len(trainer.history) == 1
    assert trainer.history != first


def test_settings_of_a_step_act_on_the_next_training(tmp_path):
    trainer = toy_trainer(tmp_path, num_train_epochs=1)
    trainer.train()
    trainer.args.learning_rate, trainer.args.per_device_train_batch_size = 0.0, 4
    trained = [parameter.clone() for parameter in trainer.model.parameters()]
    trainer.train()
    assert trainer.state.global_step == sum(-(-size // 4) for size in SIZES.values())
    assert all(map(torch.equal, trained, trainer.model.parameters()))
