"""A step inside a phase reads no more values from the device than a step of transformers.Trainer does."""

from collections import Counter

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import BertForSequenceClassification, Trainer, TrainerCallback, TrainingArguments

from hf_alphavil import MultitaskConfig, MultitaskModel
from support.bert_run import TARGET, bert_data, bert_model, bert_trainer
from support.modeling_helpers import ENCODERS, TASKS, make_batch

#: Operators that wait for the device, and the one that waits if an index is a mask.
SYNCHRONIZING = {"_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique", "_unique2"}


class Watch(TorchDispatchMode, TrainerCallback):
    """Counts the operators that wait for the device, from each step's begin to the next one's."""

    def __init__(self):
        super().__init__()
        self.counts = Counter()
        self.steps = []
        self.is_paused = False

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        masks = name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        if (name in SYNCHRONIZING or masks) and not self.is_paused:
            self.counts[name] += 1
        return func(*args, **kwargs or {})

    def on_step_begin(self, args, state, control, **kwargs):
        self.steps.append(Counter())
        self.counts = self.steps[-1]

    def collating(self, collate):
        """A collator whose operators are not counted: they run on the CPU, before a batch is moved to the device."""

        def collated(rows):
            self.is_paused = True
            try:
                return collate(rows)
            finally:
                self.is_paused = False

        return collated


def watched(trainer):
    trainer.add_callback(watch := Watch())
    trainer.data_collator = watch.collating(trainer.data_collator)
    with watch:
        trainer.train()
    return watch.steps


@pytest.mark.parametrize(
    "settings",
    [{}, {"weight_applies_to": "loss", "gradient_accumulation_steps": 2}, {"bf16": True, "max_grad_norm": 0.0}],
    ids=["weighted rates", "weighted gradients", "bf16"],
)
def test_a_step_inside_a_phase_waits_as_often_as_a_plain_one(settings, tmp_path):
    common = {"optim": "adamw_torch_fused", "learning_rate": 0.01, "num_train_epochs": 2}
    multitask = bert_trainer(tmp_path / "multitask", per_device_train_batch_size=2, **common, **settings)
    steps = watched(multitask)
    assert all(weight != 1.0 for weight in multitask.history[0]["task_weights"].values())

    settings = {name: value for name, value in settings.items() if name != "weight_applies_to"}
    args = TrainingArguments(
        tmp_path / "plain", per_device_train_batch_size=2, report_to="none", use_cpu=True, save_strategy="no",
        logging_strategy="no", disable_tqdm=True, **common, **settings,
    )  # fmt: skip
    model = BertForSequenceClassification(bert_model().config.encoder)
    expected = watched(Trainer(model, args, train_dataset=bert_data()[0][TARGET]))
    assert sum(expected[1].values()) > 0
    assert all(step == expected[1] for step in expected[:4])

    first = 0
    for phase in multitask.runner.plan.phases * 2:
        inside = steps[first + 1 : first + phase.num_steps - 1]
        assert len(inside) >= 2
        assert all(step == expected[1] for step in inside), phase
        first += phase.num_steps
    assert first == len(steps)


def test_a_batch_with_missing_choices_waits_once():
    inputs = make_batch("copa") | {"choice_mask": torch.tensor([[True, True], [True, False], [True, True]])}
    inputs["token_type_ids"] = torch.zeros_like(inputs["input_ids"])
    inputs["labels"] = torch.tensor([1, 0, 1])
    model = MultitaskModel(MultitaskConfig(encoder=ENCODERS["bert"](), tasks={"copa": TASKS["copa"]}))
    with Watch() as watch:
        model(task="copa", **inputs).loss.backward()
    assert watch.counts["nonzero"] == 1
    assert watch.counts["index"] == 0  # by a mask
