"""New heads are initialised as in transformers. A wrong scale would give no error, only worse results."""

from __future__ import annotations

import pytest
import torch
from transformers import AutoModelForMultipleChoice, AutoModelForSequenceClassification, T5Config

from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from support.modeling_helpers import ENCODERS

# Many labels and a wider encoder, so that one draw estimates a standard deviation well.
LABELS = [str(index) for index in range(40)]
TASKS = {
    "many": {"kind": "sequence_classification", "labels": LABELS},
    "copa": {"kind": "multiple_choice", "labels": None},
}
WIDTH = 64


def wide(architecture: str):
    if architecture == "t5":
        return T5Config(vocab_size=60, d_model=WIDTH, d_kv=8, d_ff=80, num_layers=2, num_heads=2)
    config = ENCODERS[architecture]()
    config.hidden_size = WIDTH
    config.intermediate_size = 80
    return config


def library_model(architecture: str, task: str):
    config = wide(architecture)
    if task == "many":
        config.num_labels = len(LABELS)
        return AutoModelForSequenceClassification.from_config(config)
    try:
        return AutoModelForMultipleChoice.from_config(config)
    except ValueError:
        config.num_labels = 1
        return AutoModelForSequenceClassification.from_config(config)


def assert_same_statistics(parameter: torch.Tensor, reference: torch.Tensor, name: str) -> None:
    assert parameter.shape == reference.shape, name
    if reference.numel() > 1 and reference.std() > 0:
        # The relative error of an estimated standard deviation is about 1 / sqrt(2 n). Five times that on each side.
        tolerance = 10 / (2 * reference.numel()) ** 0.5
        assert abs(parameter.std() / reference.std() - 1) < tolerance, (name, parameter.std(), reference.std())
    else:
        assert torch.equal(parameter, reference), name


def check_task(model: MultitaskModel, architecture: str, task: str) -> None:
    library = library_model(architecture, task)
    prefix = library.base_model_prefix + "."
    references = {name: p for name, p in library.named_parameters() if not name.startswith(prefix)}
    heads = dict(model.tasks[task].named_parameters())
    assert set(heads) == set(references)
    for name, reference in references.items():
        assert_same_statistics(heads[name], reference, f"{task}.{name}")


@pytest.mark.parametrize("architecture", [*ENCODERS, "t5"])
def test_heads_and_encoder_are_initialised_as_in_transformers(architecture):
    torch.manual_seed(0)
    model = MultitaskModel(MultitaskConfig(encoder=wide(architecture), tasks=TASKS))
    for task in TASKS:
        check_task(model, architecture, task)
    encoder = library_model(architecture, "many").base_model
    ours = dict(model.encoder.named_parameters())
    for name, reference in encoder.named_parameters():
        assert_same_statistics(ours[name], reference, name)


@pytest.mark.parametrize("architecture", [*ENCODERS, "t5"])
def test_heads_on_a_loaded_encoder_are_initialised_as_in_transformers(architecture, tmp_path):
    library_model(architecture, "many").base_model.save_pretrained(tmp_path)
    torch.manual_seed(0)
    model = MultitaskModel.from_encoder(tmp_path, TASKS)
    for task in TASKS:
        check_task(model, architecture, task)


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "qwen2", "t5"])
def test_a_task_added_at_loading_is_initialised_as_in_transformers(architecture, tmp_path):
    torch.manual_seed(0)
    tasks = {"copa": TASKS["copa"]}
    first = MultitaskModel(MultitaskConfig(encoder=wide(architecture), tasks=tasks))
    first.save_pretrained(tmp_path)
    config = MultitaskConfig.from_pretrained(tmp_path)
    config = MultitaskConfig(encoder=config.encoder, tasks=config.tasks | {"many": TASKS["many"]})
    model, info = MultitaskModel.from_pretrained(tmp_path, config=config, output_loading_info=True)

    new = {key for key in info["missing_keys"] if not key.startswith("tasks.many.")}
    assert new <= {"encoder.pooler.dense.weight", "encoder.pooler.dense.bias"}
    check_task(model, architecture, "many")
    for name, tensor in first.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def test_modernbert_head_has_its_own_initialisation():
    # ModernBertForSequenceClassification initialises its head with hidden_size ** -0.5, cut at two.
    torch.manual_seed(0)
    model = MultitaskModel(MultitaskConfig(encoder=wide("modernbert"), tasks=TASKS))
    std = model.tasks["many"].classifier.weight.std().item()
    assert std == pytest.approx(0.88 * WIDTH**-0.5, rel=0.1)


def test_same_seed_gives_the_same_heads(bert_folder):
    models = []
    for _ in range(2):
        torch.manual_seed(3)
        models.append(MultitaskModel.from_encoder(bert_folder, TASKS))
    for left, right in zip(models[0].parameters(), models[1].parameters(), strict=True):
        assert torch.equal(left, right)
