"""Runs of a tiny BERT with three heads that tests compare."""

import copy

import torch
from transformers import BertConfig, TrainerCallback

from hf_alphavil import MultitaskConfig, MultitaskModel
from hf_alphavil.modeling.lora import LoraArguments, add_lora
from support.toy_run import RecordingTrainer, toy_args

TARGET = "a"
HEADS = {
    "a": {"kind": "sequence_classification", "labels": ["x", "y"]},
    "b": {"kind": "regression", "labels": None},
    "c": {"kind": "sequence_classification", "labels": ["x", "y", "z"]},
}
ROWS = {"a": 20, "b": 24, "c": 16}


def bert_model(dropout=0.0):
    """The model, always with the same initial parameters, large enough for all of them to matter."""
    config = BertConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=12, hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    return MultitaskModel(MultitaskConfig(encoder=config, tasks=HEADS))


def adapted(model=None, **settings):
    """The model with small LoRA adapters, always the same."""
    model = bert_model() if model is None else model
    torch.manual_seed(1)
    return add_lora(model, LoraArguments(**{"lora_r": 2, "lora_alpha": 4, "lora_dropout": 0.0} | settings))


def bert_data():
    """Training sets, and the target's meta set, of random tokens: what is learned does not matter here."""
    generator = torch.Generator().manual_seed(0)

    def rows(task, count):
        made = []
        for _ in range(count):
            ids = torch.randint(0, 30, (6,), generator=generator)
            label = ids[0] / 10.0 if task == "b" else ids[0] % len(HEADS[task]["labels"])
            made.append({"input_ids": ids.tolist(), "attention_mask": [1] * 6, "labels": label.item()})
        return made

    return {task: rows(task, count) for task, count in ROWS.items()}, rows(TARGET, 12)


class HeadWatch(TrainerCallback):
    """Which heads every optimizer step moved, on every rank, and the task that the step was of."""

    def __init__(self):
        self.steps = []
        self.trainer = None

    def heads(self):
        model = self.trainer.accelerator.unwrap_model(self.trainer.model)
        return {
            task: torch.cat([p.detach().flatten() for p in head.parameters()]) for task, head in model.tasks.items()
        }

    def on_step_begin(self, args, state, control, **kwargs):
        self.before = self.heads()

    def on_optimizer_step(self, args, state, control, **kwargs):
        moved = [not torch.equal(self.before[task], after) for task, after in self.heads().items()]
        everywhere = self.trainer.accelerator.gather(torch.tensor(moved)[None]).tolist()
        runner = self.trainer.runner
        phase, step = runner.plan.locate(runner.state.step)
        self.steps.append((*phase.step_tasks[step], everywhere))


def bert_trainer(output_dir, dropout=0.0, model=None, callbacks=None, **settings):
    """A trainer on the data above; its plan's deltas are kept."""
    train, meta = bert_data()
    defaults = {"num_train_epochs": 2, "max_grad_norm": 1.0, "per_device_train_batch_size": 4}
    return RecordingTrainer(
        model=bert_model(dropout) if model is None else model,
        args=toy_args(output_dir, **defaults | settings),
        train_dataset=train,
        eval_dataset={TARGET: meta},
        callbacks=callbacks,
    )


def run_bert(output_dir, lora=False, evaluate_first=False, **settings):
    """Trains, and returns what comparisons need, as `run_toy`."""
    watch = HeadWatch()
    model = adapted() if lora else None
    trainer = watch.trainer = bert_trainer(output_dir, model=model, callbacks=[watch], **settings)
    if evaluate_first:
        trainer.evaluate()
    trainer.train()
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "history": copy.deepcopy(trainer.history),
        "epochs": trainer.epochs,
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "moved_heads": watch.steps,
        "rank_checksum": trainer.accelerator.gather(
            torch.stack([p.double().sum() for p in model.parameters()]).sum().reshape(1)
        ).tolist(),
    }
