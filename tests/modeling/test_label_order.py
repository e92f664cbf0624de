"""A head's outputs in another order of its labels: every label keeps its output."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from hf_alphavil import MultitaskModel
from hf_alphavil.modeling import head_modules, unwrap_peft
from hf_alphavil.modeling.label_order import reorder_labels
from support.bert_run import adapted, bert_model
from support.modeling_helpers import TASKS, make_batch

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

REORDERED = {
    "rte": ["not_entailment", "entailment"],
    "cb": ["b", "c", "a"],
    "tags": ["z", "x", "y"],
    "words": ["I-PER", "O", "B-PER"],
}


def logits(model, task, pad=0):
    with torch.no_grad():
        return model.eval()(task=task, **(make_batch(task, pad=pad) | {"labels": None})).logits


def test_of_every_architecture_and_kind(model, encoder_config, tmp_path):
    pad = encoder_config.pad_token_id
    before = {task: logits(model, task, pad) for task in TASKS}
    for task, labels in REORDERED.items():
        reorder_labels(model, task, labels)
    model.save_pretrained(tmp_path)
    model = MultitaskModel.from_pretrained(tmp_path)
    for task, old in before.items():
        labels = REORDERED.get(task)
        order = [TASKS[task]["labels"].index(label) for label in labels] if labels else slice(None)
        torch.testing.assert_close(logits(model, task, pad), old[..., order])
        if labels:
            assert model.config.tasks[task] == {"problem_type": None} | TASKS[task] | {
                "labels": labels, "problem_type": model.config.tasks[task]["problem_type"]
            }  # fmt: skip
            assert model.tasks[task].config.id2label == dict(enumerate(labels))


def scores(model):
    with torch.no_grad():
        return model.eval()(task="c", input_ids=torch.arange(12).reshape(2, 6)).logits


def test_of_a_head_that_an_adapter_saves():
    model = adapted()
    before = scores(model)
    reorder_labels(unwrap_peft(model), "c", ["y", "z", "x"])
    assert torch.equal(scores(model), before[:, [1, 2, 0]])
    with model.disable_adapter():
        assert torch.equal(scores(model), before[:, [1, 2, 0]])


def test_outputs_with_an_adapter_are_refused():
    bare = bert_model()
    model = get_peft_model(bare, LoraConfig(target_modules=head_modules(bare)))
    before = scores(model)
    with pytest.raises(ValueError, match=r"the head of task 'c' have the adapter classifier.lora_A.default.weight"):
        reorder_labels(unwrap_peft(model), "c", ["y", "z", "x"])
    assert torch.equal(scores(model), before)
    assert unwrap_peft(model).config.tasks["c"]["labels"] == ["x", "y", "z"]
