"""Resume with something changed that no setting says: one's own functions, callbacks and classes, tokens, packages."""

import copy
import dataclasses
import functools
import json
import re
import shutil

import pytest
import torch
from torch.optim.lr_scheduler import LambdaLR, OneCycleLR, StepLR
from torch.utils.data import Subset
from transformers import DataCollatorWithPadding, EarlyStoppingCallback, TrainerCallback, default_data_collator

from hf_alphavil.checkpointing import mixin
from hf_alphavil.checkpointing.resume_rules import check_resume
from support.bert_run import bert_data, bert_model
from support.comparing import run_differences
from support.disagreeing_run import Watcher
from support.forking import fork_runs
from support.kinds_run import every_kind, kinds_trainer, word_tokenizer
from support.resumed_run import RUN
from support.toy_run import LABELS, TARGET, NoisyToyModel, RecordingTrainer, run_toy, toy_args, toy_data, whole


def scaled(rows, factor=1.0):
    batch = default_data_collator(rows)
    return batch | {"x": batch["x"] * factor}


@dataclasses.dataclass
class Collator:
    factor: float = 1.0

    def __call__(self, rows):
        return scaled(rows, self.factor)


class OtherCollator(Collator):
    def __call__(self, rows):
        return scaled(rows[::-1], self.factor)


def own_loss(weights, floor=0.0):
    def loss(outputs, labels, num_items_in_batch=None):
        scores = outputs["logits"].float()
        losses = torch.nn.functional.cross_entropy(scores, labels, weight=weights[: scores.shape[-1]])
        return losses.clamp(min=floor)

    return loss


def accuracy_of(prediction, ties=0):
    return {"accuracy": float((prediction.predictions.argmax(-1) == prediction.label_ids).mean()) + ties}


def same_logits(logits, labels):
    return logits


class Decay(TrainerCallback):
    """Alters weights."""

    def __init__(self, rate):
        self._rate, self.steps = rate, 0

    def on_optimizer_step(self, args, state, control, model=None, **kwargs):
        self.steps += 1
        with torch.no_grad():
            next(model.parameters()).mul_(1 - self._rate)


class Stop(TrainerCallback):
    def on_epoch_end(self, args, state, control, **kwargs):
        control.should_training_stop = True


class Freeze(TrainerCallback):
    def on_train_begin(self, args, state, control, model=None, **kwargs):
        model.encoder[0].weight.requires_grad_(False)


class GatedToy(NoisyToyModel):
    """A model with numbers that are neither parameters nor in a configuration."""

    def __init__(self, labels, gate=1.0, shift=0.0):
        super().__init__(labels)
        self.gate = gate
        self.register_buffer("shift", torch.full((1,), shift), persistent=False)

    def forward(self, task, x=None, labels=None):
        return super().forward(task, x * self.gate + self.shift, labels)


class OtherForward(GatedToy):
    def forward(self, task, x=None, labels=None):
        return super().forward(task, x.abs(), labels)


class OtherTrainer(RecordingTrainer):
    def compute_loss(self, *args, **kwargs):
        return super().compute_loss(*args, **kwargs)


def toy(folder, model=None, trainer=RecordingTrainer, optimizers=None, evaluated=None, settings=None, **given):
    """A trainer with functions of its own everywhere."""
    train, meta = toy_data()
    model = GatedToy(LABELS) if model is None else model
    own = {
        "data_collator": {"a": scaled, "b": functools.partial(scaled, factor=1.0), "c": Collator()},
        "compute_metrics": accuracy_of,
        "compute_loss_func": own_loss(torch.ones(3)),
        "preprocess_logits_for_metrics": same_logits,
        "callbacks": [Decay(0.001), EarlyStoppingCallback(3, 0.01)],
        "optimizers": (None, None) if optimizers is None else optimizers(list(model.parameters())),
    }
    base = {name: value for name, value in RUN.items() if name != "noisy"}
    return trainer(
        model=model,
        args=toy_args(folder, **base | {"max_phase_steps": 2, "eval_strategy": "epoch"} | (settings or {})),
        train_dataset=train,
        eval_dataset={TARGET: meta, "b": train["b"]} if evaluated is None else evaluated(train, meta),
        **own | given,
    )


def bert(folder, model=None, tokenizer=word_tokenizer):
    train, meta = bert_data()
    return RecordingTrainer(
        model=bert_model() if model is None else model,
        args=toy_args(folder),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        processing_class=tokenizer() if tokenizer else None,
        data_collator=DataCollatorWithPadding(word_tokenizer()),
    )


def kinds(folder, changed=None, monkeypatch=None):
    tasks = every_kind() | (changed or {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("support.kinds_run.every_kind", lambda: tasks)
        return kinds_trainer(folder, target="pair", leave_out=("quiz", "prose", "tags", "score"))


def changed_tokenizer(change):
    tokenizer = word_tokenizer()
    change(tokenizer)
    return lambda: tokenizer


def changed_bert(change):
    model = bert_model()
    change(model)
    return model


PAIR = every_kind()["pair"]
COLLATORS = {"a": scaled, "b": functools.partial(scaled, factor=1.0), "c": Collator()}
STOPPING = EarlyStoppingCallback(3, 0.01)
#: What the warning names, how the trainer is made, and what is other about the run that resumes.
TOLD = {
    "function": ("data collator of a=.*same_logits", toy, {"data_collator": COLLATORS | {"a": same_logits}}),
    "partial": (
        "data collator of b=.*factor=1.0.*factor=2.0",
        toy,
        {"data_collator": COLLATORS | {"b": functools.partial(scaled, factor=2.0)}},
    ),
    "attribute": (
        "data collator of c=.*factor=1.0.*factor=2.0",
        toy,
        {"data_collator": COLLATORS | {"c": Collator(2.0)}},
    ),
    "method": ("c=.*Collator.*OtherCollator", toy, {"data_collator": COLLATORS | {"c": OtherCollator()}}),
    "tensor in a closure": ("compute_loss_func=", toy, {"compute_loss_func": own_loss(torch.arange(3.0))}),
    "number in a closure": ("compute_loss_func=", toy, {"compute_loss_func": own_loss(torch.ones(3), 1.0)}),
    "no loss": ("compute_loss_func=.* this run has nothing", toy, {"compute_loss_func": None}),
    "metrics": ("compute_metrics of a=.*ties=1", toy, {"compute_metrics": functools.partial(accuracy_of, ties=1)}),
    "metrics of one task": ("compute_metrics of b=.*nothing", toy, {"compute_metrics": {TARGET: accuracy_of}}),
    "logits": ("preprocess_logits", toy, {"preprocess_logits_for_metrics": lambda logits, labels: -logits}),
    "trainer": ("class of the trainer=.*OtherTrainer", toy, {"trainer": OtherTrainer}),
    "optimizer class": (
        "optimizer_cls_and_kwargs=nothing, this run has .*RMSprop",
        toy,
        {"optimizer_cls_and_kwargs": (torch.optim.RMSprop, {"lr": 0.01})},
    ),
    "schedule": (
        r"lr_scheduler=nothing, this run has .*StepLR\(.*step_size=2, gamma=0.1\)",
        toy,
        {"optimizers": lambda parameters: (one := torch.optim.AdamW(parameters), StepLR(one, 2))},
    ),
    "callback's argument": ("rate=0.001.*rate=0.1", toy, {"callbacks": [Decay(0.1), STOPPING]}),
    "no callback": ("callbacks=", toy, {"callbacks": [STOPPING]}),
    "callbacks' order": ("callbacks, number 1=", toy, {"callbacks": [STOPPING, Decay(0.001)]}),
    "control flow": ("callbacks, number 3=.*Stop", toy, {"callbacks": [Decay(0.001), STOPPING, Stop()]}),
    "patience": (
        "patience': 3,.*patience': 1,",
        toy,
        {"callbacks": [Decay(0.001), EarlyStoppingCallback(1, 0.01)]},
    ),
    "threshold": ("threshold': 0.01.*0.5", toy, {"callbacks": [Decay(0.001), EarlyStoppingCallback(3, 0.5)]}),
    "model's attribute": ("gate=1.0.*gate=0.5", toy, {"model": GatedToy(LABELS, gate=0.5)}),
    "model's code": ("modules of your own.*GatedToy.*OtherForward", toy, {"model": OtherForward(LABELS)}),
    "buffer": ("buffers that no checkpoint holds=", toy, {"model": GatedToy(LABELS, shift=0.5)}),
    "validation rows": (
        "validation rows of b=50 rows .* 20 rows",
        toy,
        {"evaluated": lambda train, meta: {TARGET: meta, "b": Subset(train["b"], range(20))}},
    ),
    "a validation set less": ("rows of b=50 rows .*nothing", toy, {"evaluated": lambda train, meta: {TARGET: meta}}),
    "full_determinism": ("full_determinism=False, this run has True", toy, {"settings": {"full_determinism": True}}),
    "early learning rates": ("rates that follow its own length", toy, {"settings": {"num_train_epochs": 9}}),
    "attention": (
        "attn_implementation=.*'eager'",
        bert,
        {"model": changed_bert(lambda model: setattr(model.encoder.config, "_attn_implementation", "eager"))},
    ),
    "separator's id": (
        "encoder.sep_token_id=nothing, this run has 7",
        bert,
        {"model": changed_bert(lambda model: setattr(model.config.encoder, "sep_token_id", 7))},
    ),
    "padding side": (
        "padding_side=right, this run has left",
        bert,
        {"tokenizer": changed_tokenizer(lambda one: setattr(one, "padding_side", "left"))},
    ),
    "longer vocabulary": (
        "25 tokens, .* 26 tokens",
        bert,
        {"tokenizer": changed_tokenizer(lambda one: one.add_tokens(["zz"]))},
    ),
    "special token": (
        r"special_tokens_map.cls_token=\[CLS\], this run has \[SEP\]",
        bert,
        {"tokenizer": changed_tokenizer(lambda one: setattr(one, "cls_token", "[SEP]"))},
    ),
    "task's metric": (
        "compute_metrics of pair=.*accuracy.*f1",
        kinds,
        {"changed": {"pair": dataclasses.replace(PAIR, metrics=("f1", "accuracy"))}},
    ),
}


def fingerprint(trainer):
    return json.loads(json.dumps(trainer._run_fingerprint()))


def told(caplog):
    return "\n".join(record.getMessage() for record in caplog.records if "was written with" in record.getMessage())


@pytest.fixture(scope="module")
def bases(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bases")
    return {make: fingerprint(make(folder)) for make in (toy, bert, kinds)}


@pytest.mark.parametrize("name", TOLD)
def test_what_differs_is_told(name, bases, tmp_path, caplog):
    message, make, changes = TOLD[name]
    check_resume("c", bases[make], fingerprint(make(tmp_path, **changes)))
    assert re.search(message, told(caplog)), told(caplog)


@pytest.mark.parametrize("make", [toy, bert, kinds])
def test_the_same_made_anew_is_the_same(make, bases, tmp_path, caplog):
    assert fingerprint(make(tmp_path)) == bases[make]
    check_resume("c", bases[make], fingerprint(make(tmp_path)))
    assert not told(caplog)


def test_rows_to_predict_are_no_other_metric(bases, tmp_path, caplog):
    changed = {"pair": dataclasses.replace(PAIR, test=PAIR.validation)}
    check_resume("c", bases[kinds], fingerprint(kinds(tmp_path, changed=changed)))
    assert not told(caplog)


def test_of_long_descriptions_the_part_that_differs_is_told(bases, caplog):
    mine = copy.deepcopy(bases[toy])
    theirs = copy.deepcopy(mine)
    for one, rate in ((theirs, 1), (mine, 2)):
        one["code"]["compute_loss_func"] = f"{'a' * 1000}(rate={rate}, {'b' * 1000})"
    check_resume("c", theirs, mine)
    assert re.search(r"=\.\.\.a+\(rate=1, b+\.\.\., this run has \.\.\.a+\(rate=2, b+\.\.\.\.", told(caplog))
    assert len(told(caplog)) < 1000


def test_tokens_that_trainer_copies_from_the_tokenizer_do_not_count(bases, tmp_path):
    """Trainer does so when it trains, so that a second `train()` finds others in the configuration."""
    model = changed_bert(lambda model: setattr(model.config.encoder, "pad_token_id", 3))
    assert fingerprint(bert(tmp_path, model=model)) == bases[bert]
    made = [fingerprint(bert(tmp_path, model=one, tokenizer=None)) for one in (model, bert_model())]
    assert made[0]["other"] != made[1]["other"]


def test_a_task_that_is_only_evaluated_may_go(tmp_path, caplog):
    trainer = kinds(tmp_path)
    with_other = fingerprint(trainer)
    without = copy.deepcopy(with_other)
    assert not any("of other" in name for name in with_other["rows"])
    assert without["other"].pop("validation rows of other")
    assert without["other"].pop("head that scores other") == "pair"
    check_resume("c", with_other, without)
    assert "validation rows of other=8 rows" in told(caplog)


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("environment", "version of torch", "1.0"),
        ("environment", "device", "NVIDIA H100"),
        ("environment", "mixed precision", "bf16"),
        ("environment", "Python", "3.1"),
        ("settings", "alpha_l1", None),
        ("model", "the model's config: encoder.layer_norm_eps", None),
        ("code", None, None),
        ("environment", None, None),
    ],
)
def test_what_another_version_wrote_is_told(part, name, value, bases, caplog):
    """Other packages, an entry that only one side knows, and a part that earlier versions did not write."""
    mine, theirs = bases[bert], copy.deepcopy(bases[bert])
    if name is None:
        del theirs[part]
    elif value is None:
        del theirs[part][name]
    else:
        theirs[part][name] = value
    check_resume("c", theirs, mine)
    expected = f"no record of its {part}" if name is None else f"{name}={value or 'nothing'}, this run has "
    assert f"c was written with {expected}" in told(caplog)


# ---- Runs


def run(trainer, checkpoint=None):
    trainer.train(resume_from_checkpoint=checkpoint)
    return {
        "state": {name: whole(tensor) for name, tensor in trainer.model.state_dict().items()},
        "history": trainer.history,
        "log_history": trainer.state.log_history,
        "counted": (trainer.state.global_step, trainer.state.best_metric),
    }


def differences(one, other):
    """What is logged may change."""
    return [line for line in run_differences(one, other) if not line.startswith("logs")]


@pytest.fixture(scope="module")
def stopped(tmp_path_factory):
    folder = tmp_path_factory.mktemp("stopped")
    return folder, run(toy(folder))


HARMLESS = {
    "save_only_model": True,
    "save_strategy": "epoch",
    "eval_on_start": True,
    "eval_auxiliaries": True,
    "hub_export": "multitask",
    "per_device_eval_batch_size": 3,
    "method_kwargs": {},
    "restore_callback_states_from_checkpoint": True,
}


def test_harmless_changes(stopped, tmp_path, caplog):
    """With the arguments of callbacks from the checkpoint, the run's own have no effect."""
    folder, undisturbed = stopped
    checkpoint = tmp_path / "checkpoint-9"
    shutil.copytree(folder / "checkpoint-4", checkpoint)
    (checkpoint / "notes.txt").write_text("mine")
    trainer = toy(tmp_path, callbacks=[Decay(0.001), EarlyStoppingCallback(1, 0.5)], settings=HARMLESS)
    assert not differences(undisturbed, run(trainer, str(checkpoint)))
    assert not told(caplog)


def test_a_second_train_of_one_trainer_is_told_nothing(tmp_path, caplog):
    trainer = toy(tmp_path)
    first = run(trainer)
    assert not differences(first, run(trainer, str(tmp_path / "checkpoint-4")))
    assert not told(caplog)


def test_a_resumed_run_is_not_evaluated_at_its_start_again(tmp_path, caplog):
    """Early stopping would count the evaluation."""
    settings = {"eval_on_start": True, "num_train_epochs": 4, "load_best_model_at_end": True, "save_steps": 6}
    settings |= {"eval_steps": 6, "eval_strategy": "steps", "metric_for_best_model": "accuracy"}
    callbacks = [[EarlyStoppingCallback(2)] for _ in range(2)]
    undisturbed = run(toy(tmp_path / "0", callbacks=callbacks[0], settings=settings))
    resumed = run(toy(tmp_path / "1", callbacks=callbacks[1], settings=settings), str(tmp_path / "0" / "checkpoint-6"))
    assert not differences(undisturbed, resumed)
    assert len(undisturbed["log_history"]) == len(resumed["log_history"])
    assert callbacks[0][0].early_stopping_patience_counter == callbacks[1][0].early_stopping_patience_counter
    assert not told(caplog)


def with_schedule(make, **groups):
    def optimizers(parameters):
        optimizer = torch.optim.AdamW([{"params": parameters[:2]}, {"params": parameters[2:]} | groups], lr=0.01)
        return optimizer, make(optimizer)

    return {"optimizers": optimizers, "settings": {"method": "multitask"}}


def half(step):
    return 0.5


def cycle(optimizer):
    """Changes an option of the optimizer at every step."""
    return OneCycleLR(optimizer, 0.1, total_steps=50)


OWN_SCHEDULES = {
    "function": (
        with_schedule(lambda one: LambdaLR(one, half)),
        with_schedule(lambda one: LambdaLR(one, lambda i: 0.1)),
    ),
    "number": (with_schedule(lambda one: StepLR(one, 2)), with_schedule(lambda one: StepLR(one, 1))),
    "cycle": (with_schedule(cycle), with_schedule(lambda one: OneCycleLR(one, 0.2, total_steps=50))),
    "options of a group": (with_schedule(cycle), with_schedule(cycle, betas=(0.5, 0.9))),
}


@pytest.mark.parametrize("name", OWN_SCHEDULES)
def test_a_schedule_of_ones_own(name, tmp_path, caplog):
    same, other = OWN_SCHEDULES[name]
    undisturbed = run(toy(tmp_path / "0", **same))
    checkpoint = str(tmp_path / "0" / "checkpoint-2")
    assert not differences(undisturbed, run(toy(tmp_path / "1", **same), checkpoint))
    assert not told(caplog)
    if name in ("function", "number"):
        run(toy(tmp_path / "2", **other), checkpoint)
        assert "lr_scheduler=" in told(caplog)
    else:
        with pytest.raises(ValueError, match=r"another optimizer: .*(max_lr=0.1, this run has 0.2|number 2.betas=)"):
            run(toy(tmp_path / "2", **other), checkpoint)


def test_a_callback_that_freezes_parameters_does_not_prevent_its_own_resume(tmp_path, caplog):
    settings = {"method": "multitask"}
    undisturbed = run(toy(tmp_path / "0", callbacks=[Freeze()], settings=settings))
    resumed = toy(tmp_path / "1", callbacks=[Freeze()], settings=settings)
    assert not differences(undisturbed, run(resumed, str(tmp_path / "0" / "checkpoint-2")))
    assert not told(caplog)


def test_a_run_folder_is_no_checkpoint(stopped, tmp_path):
    folder, _ = stopped
    with pytest.raises(ValueError, match=r"a run's folder and no checkpoint: pass .* such as .*checkpoint-12"):
        run(toy(tmp_path), str(folder))


def counted_run(output_dir):
    """Number of fingerprints that this rank makes in a run with checkpoints, with a callback on one rank alone."""
    counts = []
    make = mixin.run_fingerprint
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mixin, "run_fingerprint", lambda *args: counts.append(1) or make(*args))
        trainer = toy(output_dir, settings={"num_train_epochs": 1})
        if trainer.args.process_index == 1:
            trainer.add_callback(Watcher)
        trainer.train()
    return trainer.accelerator.gather(torch.tensor([len(counts)])).tolist()


@pytest.mark.distributed
def test_a_run_on_two_processes_makes_one_fingerprint(tmp_path):
    assert fork_runs(counted_run, [{"output_dir": tmp_path}], "ddp", 2) == [[1, 1]]


class OwnSchedule(RecordingTrainer):
    """Makes its schedule without Trainer's method."""

    def create_scheduler(self, num_training_steps, optimizer=None):
        self.lr_scheduler = LambdaLR(self.optimizer, lambda step: 0.5 ** (step / num_training_steps))
        self._created_lr_scheduler = True
        return self.lr_scheduler


@pytest.mark.parametrize("settings", [{}, {"method": "multitask", "alphavil_preset": "joint"}], ids=["forks", "joint"])
def test_a_schedule_that_the_trainer_s_class_makes(settings, tmp_path):
    run = {"trainer_class": OwnSchedule, "num_train_epochs": 2, "save_strategy": "epoch", "optim": "adamw_torch"}
    undisturbed = run_toy(tmp_path, **run, **settings)
    checkpoint = str(min(tmp_path.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1])))
    resumed = run_toy(tmp_path / "resumed", resume_from_checkpoint=checkpoint, **run, **settings)
    assert resumed["history"] == undisturbed["history"]
    assert all(torch.equal(tensor, resumed["state"][name]) for name, tensor in undisturbed["state"].items())
