"""A task of the multitask model computes the same as the native transformers model with the same weights."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
)

from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from hf_alphavil.modeling.export import export_native
from support.modeling_helpers import DECODERS, ENCODERS, PROSE, TASKS, auto_class_of, make_batch, shake

TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}


def library_model(model, task, config):
    """A native model that transformers builds from the encoder's configuration, with the multitask model's weights."""
    auto_class = auto_class_of(task, config.model_type)
    if auto_class in (AutoModelForSequenceClassification, AutoModelForTokenClassification):
        kind, labels = TASKS[task]["kind"], TASKS[task]["labels"]
        config.num_labels = 1 if kind in ("regression", "multiple_choice") else len(labels)
        config.problem_type = {"tags": "multi_label_classification", "sts-b": "regression"}.get(task)
    library = auto_class.from_config(config)
    prefix = library.base_model_prefix + "."
    ours = model.state_dict()
    weights = {
        key: ours["encoder." + key[len(prefix) :] if key.startswith(prefix) else f"tasks.{task}.{key}"]
        for key in library.state_dict()
    }
    library.load_state_dict(weights, strict=True)
    return library.eval()


def run_library(library, task, batch):
    if task != "copa" or isinstance(library, tuple(AutoModelForMultipleChoice._model_mapping.values())):
        output = library(**batch)
        return output.loss, output.logits
    # There is no multiple-choice class, so the reference runs the choices one after another.
    scores = [
        library(input_ids=batch["input_ids"][:, choice], attention_mask=batch["attention_mask"][:, choice]).logits
        for choice in range(2)
    ]
    logits = torch.cat(scores, dim=1)
    return F.cross_entropy(logits, batch["labels"]), logits


@pytest.mark.parametrize("task", TASKS)
def test_loss_logits_and_gradients_equal_those_of_transformers(model, encoder_config, architecture, task):
    batch = make_batch(task, pad=encoder_config.pad_token_id)
    library = library_model(model, task, encoder_config)
    loss, logits = run_library(library, task, batch)
    output = model(task=task, **batch)

    torch.testing.assert_close(output.logits, logits, **TOLERANCE)
    torch.testing.assert_close(output.loss, loss, **TOLERANCE)

    loss.backward()
    output.loss.backward()
    prefix = library.base_model_prefix + "."
    ours = dict(model.named_parameters())
    for name, parameter in library.named_parameters():
        mine = ours["encoder." + name[len(prefix) :] if name.startswith(prefix) else f"tasks.{task}.{name}"]
        if parameter.grad is None:
            assert mine.grad is None, name
        else:
            torch.testing.assert_close(mine.grad, parameter.grad, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.parametrize("architecture", [name for name in ENCODERS if name not in DECODERS])
def test_masked_lm_equals_that_of_transformers(architecture, encoder_config, encoder_folder, tmp_path):
    """Loss, logits and gradients are equal, and the export loads without this package."""
    model = shake(MultitaskModel.from_encoder(encoder_folder, {"rte": TASKS["rte"]} | PROSE))
    test_loss_logits_and_gradients_equal_those_of_transformers(model, encoder_config, architecture, "prose")
    model.export_task("prose", tmp_path)
    exported = AutoModelForMaskedLM.from_pretrained(tmp_path).eval()
    batch = make_batch("prose", pad=encoder_config.pad_token_id)
    torch.testing.assert_close(exported(**batch).logits, model(task="prose", **batch).logits, **TOLERANCE)


@pytest.mark.parametrize("architecture", [name for name in ENCODERS if name not in DECODERS])
def test_masked_lm_head_comes_from_the_checkpoint(architecture, encoder_config, tmp_path):
    torch.manual_seed(0)
    pretrained = shake(AutoModelForMaskedLM.from_config(encoder_config)).eval()
    pretrained.save_pretrained(tmp_path)
    model = MultitaskModel.from_encoder(tmp_path, {"rte": TASKS["rte"]} | PROSE)
    batch = make_batch("prose", pad=encoder_config.pad_token_id)
    torch.testing.assert_close(model(task="prose", **batch).logits, pretrained(**batch).logits, **TOLERANCE)


def test_a_checkpoint_without_masked_lm_head(bert_folder, caplog):
    MultitaskModel.from_encoder(bert_folder, PROSE)
    assert "has no language model head" in caplog.text


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_masked_lm_head_that_is_no_longer_tied(architecture, encoder_folder, tmp_path):
    """Adapters train a copy of the head. Its export must not tie the head to the embeddings."""
    model = MultitaskModel.from_encoder(encoder_folder, PROSE)
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    ((decoder, embeddings),) = [(a, b) for a, b in model.all_tied_weights_keys.items() if a.endswith("decoder.weight")]
    weights[decoder] += torch.randn_like(weights[decoder])
    export_native(model.config, "prose", tmp_path, weights)
    exported = AutoModelForMaskedLM.from_pretrained(tmp_path)
    exported.tie_weights()
    assert torch.equal(exported.get_output_embeddings().weight, weights[decoder])
    assert torch.equal(exported.get_input_embeddings().weight, weights[embeddings])
    assert exported.config.tie_word_embeddings is False


@pytest.mark.parametrize("architecture", ["bert", "qwen2"])
def test_rows_with_fewer_choices(model, encoder_config, architecture):
    """Losses, logits and gradients equal those of the native model, run on each row with the choices it has."""
    batch = make_batch("copa", pad=encoder_config.pad_token_id)
    ids, attention = (torch.cat([batch[name]] * 2, dim=1)[:, :3] for name in ("input_ids", "attention_mask"))
    counts, labels = [3, 2, 1], torch.tensor([2, 1, 0])
    mask = torch.arange(3) < torch.tensor(counts)[:, None]
    output = model(task="copa", input_ids=ids, attention_mask=attention, labels=labels, choice_mask=mask)
    output.loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    total = 0.0
    for row, count in enumerate(counts):
        alone = model(
            task="copa",
            input_ids=ids[row : row + 1, :count],
            attention_mask=attention[row : row + 1, :count],
            labels=labels[row : row + 1],
        )
        torch.testing.assert_close(output.logits[row, :count], alone.logits[0], **TOLERANCE)
        total = total + alone.loss / len(counts)
    assert (output.logits[~mask] == torch.finfo(torch.float32).min).all()
    torch.testing.assert_close(output.loss, total, **TOLERANCE)
    total.backward()
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-4, atol=1e-6, msg=name)
    logits = model(
        task="copa", input_ids=ids, attention_mask=attention, labels=labels, choice_mask=mask, return_dict=False
    )[1]
    torch.testing.assert_close(logits, output.logits)


def test_a_step_of_one_task_leaves_other_heads_without_gradient(bert):
    bert(task="rte", **make_batch("rte")).loss.backward()
    with_gradient = {
        name.split(".")[1] for name, p in bert.named_parameters() if p.grad is not None and "tasks" in name
    }
    assert with_gradient == {"rte"}


@pytest.mark.parametrize("implementation", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ["bert", "roberta", "electra", "modernbert", "qwen2"])
def test_attention_implementation_reaches_every_module(architecture, implementation):
    # The configuration has not been used for a model yet, so its attention implementation is None. Layers that are
    # built with None, or that get another configuration later, compute slightly different values.
    config = ENCODERS[architecture]()
    config._attn_implementation = implementation
    model = shake(MultitaskModel(MultitaskConfig(encoder=config, tasks=TASKS))).eval()

    assert model.config.encoder is model.encoder.config
    assert model.config._attn_implementation == implementation
    for name, module in model.named_modules():
        if hasattr(module, "config"):
            assert module.config._attn_implementation == implementation, name

    library_config = ENCODERS[architecture]()
    library_config._attn_implementation = implementation
    batch = make_batch("rte", pad=config.pad_token_id)
    _, logits = run_library(library_model(model, "rte", library_config), "rte", batch)
    torch.testing.assert_close(model(task="rte", **batch).logits, logits, **TOLERANCE)


@pytest.mark.parametrize("architecture", list(ENCODERS))
def test_default_attention_implementation_is_that_of_transformers(architecture):
    model = MultitaskModel(MultitaskConfig(encoder=ENCODERS[architecture](), tasks=TASKS))
    library = AutoModelForSequenceClassification.from_config(ENCODERS[architecture]())
    expected = library.config._attn_implementation
    assert expected is not None
    modules = [module for module in model.modules() if hasattr(module, "config")]
    assert {module.config._attn_implementation for module in modules} == {expected}


def test_attention_implementation_can_be_changed_later(bert):
    batch = make_batch("rte")
    before = bert(task="rte", **batch).logits
    bert.set_attn_implementation("eager")
    assert {m.config._attn_implementation for m in bert.modules() if hasattr(m, "config")} == {"eager"}
    torch.testing.assert_close(bert(task="rte", **batch).logits, before, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("embeds", [False, True])
@pytest.mark.parametrize("architecture", ["bert", "qwen2"])
def test_multiple_choice_takes_embeddings_and_tuples(model, embeds):
    batch = make_batch("copa")
    if embeds:
        # Without ids, decoders cannot see padding and take the last position. So there is no padding here.
        ids = batch["input_ids"].clamp(min=5)
        batch = {"labels": batch["labels"]}
        expected = model(task="copa", input_ids=ids, **batch)
        output = model(task="copa", inputs_embeds=model.get_input_embeddings()(ids), **batch)
    else:
        expected = model(task="copa", **batch)
        loss, logits = model(task="copa", return_dict=False, **batch)[:2]
        output = type(expected)(loss=loss, logits=logits)
    torch.testing.assert_close(output.logits, expected.logits, **TOLERANCE)
    torch.testing.assert_close(output.loss, expected.loss, **TOLERANCE)


@pytest.mark.parametrize("architecture", ["qwen2"])
def test_multiple_choice_of_a_decoder_needs_the_choice_dimension(model):
    with pytest.raises(ValueError, match=r"input_ids .* 3 dimensions .*\(3, 7\)"):
        model(task="copa", **make_batch("rte"))
    with pytest.raises(ValueError, match="input_ids or inputs_embeds"):
        model(task="copa", attention_mask=torch.ones(3, 2, 7))


def test_the_error_about_an_unknown_task_lists_the_known_ones(bert):
    with pytest.raises(ValueError, match=r"unknown task 'mnli'.*'rte', 'cb', 'tags', 'sts-b', 'copa', 'words'"):
        bert(task="mnli", **make_batch("rte"))
