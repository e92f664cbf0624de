"""A multitask model made of an ordinary one shares its modules, and exports what that would have saved."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import (
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    BertConfig,
    BertForMaskedLM,
    BertForSequenceClassification,
    BertForTokenClassification,
)

from hf_alphavil.modeling.extension import extend_native
from support.modeling_helpers import ENCODERS, TASKS, WIDE_BERT

OTHER = {"other": TASKS["rte"]}


@pytest.mark.parametrize("auto", [AutoModelForSequenceClassification, AutoModelForTokenClassification])
@pytest.mark.parametrize("architecture", ENCODERS)
def test_every_architecture_keeps_outputs_and_names(architecture, auto, tmp_path):
    model = auto.from_config(ENCODERS[architecture]()).eval()
    inputs = {"input_ids": torch.tensor([[5, 6, 7, 2], [8, 9, 10, 2]])}
    multitask = extend_native(model, "reviews", OTHER)
    with torch.no_grad():
        assert torch.equal(multitask("reviews", **inputs).logits, model(**inputs).logits)
    multitask.export_task("reviews", tmp_path / "export")
    model.save_pretrained(tmp_path / "stock")
    exported, saved = (load_file(tmp_path / name / "model.safetensors") for name in ("export", "stock"))
    assert exported.keys() == saved.keys()
    assert all(torch.equal(exported[name], weights) for name, weights in saved.items())


@pytest.mark.parametrize("is_trained", [False, True])
def test_replaced_layers_keep_their_weights(is_trained):
    model = BertForSequenceClassification(BertConfig(**WIDE_BERT, problem_type="multi_label_classification"))
    model.resize_token_embeddings(30)
    model.bert.encoder.layer[0].output.dense = nn.Linear(16, 16)
    before = {name: weights.clone() for name, weights in model.state_dict().items()}
    multitask = extend_native(model.train(is_trained), "reviews", OTHER)
    assert all(torch.equal(weights, before[name]) for name, weights in model.state_dict().items())
    assert multitask.encoder is model.bert
    assert multitask.tasks["reviews"].classifier is model.classifier
    assert multitask.training == is_trained
    assert multitask.config.tasks["reviews"]["problem_type"] == "multi_label_classification"


def test_heads_of_other_kinds():
    tokens = BertForTokenClassification(BertConfig(**WIDE_BERT, num_labels=3))  # whose encoder has no pooler
    multitask = extend_native(tokens, "tags", OTHER)
    assert multitask.encoder.pooler is not None
    assert not any("pooler" in name for name in tokens.state_dict())
    inputs = {"input_ids": torch.tensor([[2, 6, 7, 3]])}
    tokens.eval(), multitask.eval()
    assert torch.equal(multitask("tags", **inputs).logits, tokens(**inputs).logits)
    language = BertForMaskedLM(BertConfig(**WIDE_BERT))
    multitask = extend_native(language, "prose", OTHER).eval()
    assert multitask.tasks["prose"].cls.predictions.decoder.weight is multitask.encoder.get_input_embeddings().weight
    assert torch.equal(multitask("prose", **inputs).logits, language.eval()(**inputs).logits)
    score = BertForSequenceClassification(BertConfig(**WIDE_BERT, num_labels=1))
    assert extend_native(score, "score", OTHER).config.tasks["score"]["kind"] == "regression"
