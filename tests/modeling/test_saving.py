"""Saving, loading, starting from an encoder, and exporting one task."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    BertConfig,
    PreTrainedTokenizerFast,
    T5Config,
)

from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from support.modeling_helpers import DECODERS, ENCODERS, TASKS, auto_class_of, make_batch, shake


def assert_same_tensors(left: dict, right: dict) -> None:
    assert list(left) == list(right)
    for name in left:
        assert torch.equal(left[name], right[name]), name


def no_problems(info: dict) -> bool:
    return not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))


def test_round_trip(model, encoder_config, tmp_path):
    model.save_pretrained(tmp_path)
    loaded, info = MultitaskModel.from_pretrained(tmp_path, output_loading_info=True)

    assert no_problems(info)
    assert_same_tensors(loaded.state_dict(), model.state_dict())
    assert loaded.config.tasks == model.config.tasks
    assert list(loaded.config.tasks) == list(TASKS)  # although JSON configurations have sorted keys
    assert [name for name, _ in loaded.named_parameters()] == [name for name, _ in model.named_parameters()]
    for task in TASKS:
        batch = make_batch(task, pad=encoder_config.pad_token_id)
        torch.testing.assert_close(loaded(task=task, **batch).loss, model(task=task, **batch).loss)


def test_encoder_is_stored_once(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    stored = load_file(tmp_path / "model.safetensors")
    assert set(stored) == set(dict(bert.named_parameters()))
    assert sum(tensor.numel() for tensor in stored.values()) == bert.num_parameters()
    assert sum("word_embeddings" in name for name in stored) == 1


def test_auto_classes_load_the_model(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    assert isinstance(AutoConfig.from_pretrained(tmp_path), MultitaskConfig)
    assert isinstance(AutoModel.from_pretrained(tmp_path), MultitaskModel)


def test_importing_the_package_alone_registers_the_model_and_imports_no_matplotlib(bert, tmp_path):
    """In a new process, because this one has imported the modules that register it."""
    bert.save_pretrained(tmp_path)
    script = (
        "import sys, hf_alphavil; assert 'matplotlib' not in sys.modules; "
        "from transformers import AutoConfig, AutoModel; "
        "print(*(type(auto.from_pretrained(sys.argv[1])).__name__ for auto in (AutoConfig, AutoModel)))"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    finished = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert finished.stdout.split() == ["MultitaskConfig", "MultitaskModel"], finished.stderr[-3000:]


def test_no_local_path_is_saved(bert, bert_folder, tmp_path):
    bert.save_pretrained(tmp_path)
    assert bert_folder not in (tmp_path / "config.json").read_text()
    assert bert.config.encoder.name_or_path == bert_folder


def test_bf16_round_trip_and_override(bert, tmp_path):
    bert.to(torch.bfloat16).save_pretrained(tmp_path)
    assert MultitaskModel.from_pretrained(tmp_path).dtype == torch.bfloat16
    loaded = MultitaskModel.from_pretrained(tmp_path, dtype=torch.float32)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


# --- starting from an encoder


def test_from_encoder_keeps_every_tensor(encoder_folder):
    model = MultitaskModel.from_encoder(encoder_folder, TASKS)
    stored = load_file(encoder_folder + "/model.safetensors")
    encoder = model.encoder.state_dict()
    assert set(encoder) <= set(stored)  # the stored pooler is not loaded if no task needs one
    for name, tensor in encoder.items():
        assert torch.equal(tensor, stored[name]), name
    assert not model.training


def test_from_encoder_takes_objects_with_a_head(bert_folder):
    model = MultitaskModel.from_encoder(bert_folder, {name: SimpleNamespace(head=TASKS[name]) for name in TASKS})
    assert model.config.tasks["tags"] == TASKS["tags"]


def test_from_encoder_loads_half_precision_as_float32(tmp_path):
    torch.manual_seed(0)
    stored = AutoModel.from_config(ENCODERS["bert"]()).to(torch.bfloat16)
    stored.save_pretrained(tmp_path)
    model = MultitaskModel.from_encoder(tmp_path, TASKS)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert model.config.encoder.dtype == torch.float32
    torch.testing.assert_close(
        model.encoder.embeddings.word_embeddings.weight, stored.embeddings.word_embeddings.weight.float()
    )
    half = MultitaskModel.from_encoder(tmp_path, TASKS, dtype="auto")
    assert {parameter.dtype for parameter in half.parameters()} == {torch.bfloat16}


def test_from_encoder_passes_arguments_on(bert_folder):
    model = MultitaskModel.from_encoder(
        bert_folder, TASKS, attn_implementation="eager", hidden_dropout_prob=0.3, revision="main"
    )
    assert {m.config._attn_implementation for m in model.modules() if hasattr(m, "config")} == {"eager"}
    assert model.encoder.embeddings.dropout.p == 0.3
    assert model.tasks["rte"].dropout.p == 0.3


def test_from_encoder_reports_a_new_pooler_in_one_line(tmp_path, caplog):
    AutoModelForMaskedLM.from_config(ENCODERS["bert"]()).save_pretrained(tmp_path)
    library_logger = logging.getLogger("transformers")
    library_logger.propagate = True
    try:
        with caplog.at_level(logging.WARNING):
            MultitaskModel.from_encoder(tmp_path, TASKS)
    finally:
        library_logger.propagate = False
    messages = [record.getMessage() for record in caplog.records]
    assert len(messages) == 1
    assert "2 of 39 encoder weights" in messages[0]
    assert "pooler.dense.weight" in messages[0]
    assert "\n" not in messages[0]


def test_an_encoder_without_matching_weights_is_refused(bert_folder, tmp_path):
    AutoConfig.from_pretrained(bert_folder).save_pretrained(tmp_path)
    save_file({"nothing.of.the.kind": torch.zeros(1)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ValueError, match="has none of the weights of a BertModel"):
        MultitaskModel.from_encoder(tmp_path, TASKS)


@pytest.mark.parametrize("name", ["/no/such/folder", "./nowhere", "a/b/c"])
def test_missing_encoder_folder(name):
    with pytest.raises(FileNotFoundError, match=f"{name} does not exist"):
        MultitaskModel.from_encoder(name, TASKS)


def test_encoder_folder_without_configuration(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"has no config\.json"):
        MultitaskModel.from_encoder(tmp_path, TASKS)


def test_plain_checkpoint_is_refused(bert_folder):
    with pytest.raises(ValueError, match=r"'bert' model.*from_encoder"):
        MultitaskModel.from_pretrained(bert_folder)
    config = MultitaskConfig(encoder=AutoConfig.from_pretrained(bert_folder), tasks=TASKS)
    with pytest.raises(ValueError, match="from_encoder"):
        MultitaskModel.from_pretrained(bert_folder, config=config)


def test_a_multitask_checkpoint_is_not_an_encoder(bert, tmp_path):
    bert.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="from_pretrained"):
        MultitaskModel.from_encoder(tmp_path, TASKS)


# --- tied weights


@pytest.fixture
def t5(tmp_path):
    config = T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=24, num_layers=2, num_heads=2, decoder_start_token_id=0)
    AutoModel.from_config(config).save_pretrained(tmp_path / "t5")
    return shake(MultitaskModel.from_encoder(tmp_path / "t5", {"rte": TASKS["rte"], "copa": TASKS["copa"]}))


def test_ties_inside_the_encoder_survive(t5, tmp_path):
    ids = torch.randint(5, 60, (2, 6))
    ids[:, -1] = 1
    t5.save_pretrained(tmp_path / "saved")
    loaded, info = MultitaskModel.from_pretrained(tmp_path / "saved", output_loading_info=True)
    assert no_problems(info)
    for model in (t5, loaded):
        assert model.encoder.encoder.embed_tokens.weight is model.encoder.shared.weight
    torch.testing.assert_close(loaded("rte", ids).logits, t5("rte", ids).logits)

    t5.export_task("rte", tmp_path / "rte")
    exported, info = AutoModelForSequenceClassification.from_pretrained(tmp_path / "rte", output_loading_info=True)
    assert no_problems(info)
    torch.testing.assert_close(exported(ids).logits, t5("rte", ids).logits)

    choices = t5("copa", ids[None], labels=torch.tensor([1]))
    assert choices.logits.shape == (1, 2)
    t5.export_task("copa", tmp_path / "copa")
    exported = AutoModelForSequenceClassification.from_pretrained(tmp_path / "copa")
    torch.testing.assert_close(exported(ids).logits.view(1, 2), choices.logits)


# --- export


@pytest.mark.parametrize("task", TASKS)
def test_export_is_a_native_folder(model, encoder_config, architecture, task, tmp_path):
    model.export_task(task, tmp_path)
    auto_class = auto_class_of(task, architecture)
    native, info = auto_class.from_pretrained(tmp_path, output_loading_info=True)
    assert no_problems(info)

    batch = make_batch(task, pad=encoder_config.pad_token_id)
    labels = batch.pop("labels")
    expected = model(task=task, labels=labels, **batch)
    if task == "copa" and architecture in DECODERS:
        scores = native(**{name: tensor.flatten(0, 1) for name, tensor in batch.items()}).logits
        assert native.config.num_labels == 1
        torch.testing.assert_close(scores.view(3, 2), expected.logits)
        return
    output = native(labels=labels, **batch)
    torch.testing.assert_close(output.logits, expected.logits)
    torch.testing.assert_close(output.loss, expected.loss)


def test_export_writes_labels_and_problem_type(bert, tmp_path):
    expected = {
        "rte": ("single_label_classification", {0: "entailment", 1: "not_entailment"}),
        "tags": ("multi_label_classification", {0: "x", 1: "y", 2: "z"}),
        "sts-b": ("regression", {0: "LABEL_0"}),
    }
    for task, (problem_type, id2label) in expected.items():
        bert.export_task(task, tmp_path / task)
        config = AutoConfig.from_pretrained(tmp_path / task)
        assert config.architectures == ["BertForSequenceClassification"]
        assert (config.problem_type, config.id2label) == (problem_type, id2label)
        assert config.label2id == {label: index for index, label in id2label.items()}
        assert json.loads((tmp_path / task / "config.json").read_text())["dtype"] == "float32"


def test_export_does_not_touch_the_model(bert, tmp_path):
    before = {name: tensor.clone() for name, tensor in bert.state_dict().items()}
    bert.export_task("rte", tmp_path)
    assert_same_tensors(bert.state_dict(), before)
    assert bert.config.encoder.problem_type is None


def test_export_errors(bert, tmp_path):
    with pytest.raises(ValueError, match="unknown task 'mnli'"):
        bert.export_task("mnli", tmp_path)
    weights = {name.replace("query.weight", "query.base_layer.weight"): t for name, t in bert.state_dict().items()}
    with pytest.raises(ValueError, match="merge them first"):
        bert.export_task("rte", tmp_path, state_dict=weights)


def make_tokenizer() -> PreTrainedTokenizerFast:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, **{f"w{index}": index for index in range(2, 60)}}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        model_input_names=["input_ids", "attention_mask"],
    )


@pytest.mark.slow
def test_export_loads_without_this_package(encoder_folders, tmp_path):
    texts = ["w7 w8 w9", "w20 w30 w40 w50 w6"]
    expected = {}
    for architecture in ("bert", "modernbert", "qwen2"):
        model = shake(MultitaskModel.from_encoder(encoder_folders(architecture), TASKS))
        for task in ("rte", "sts-b", "copa", "words"):
            folder = tmp_path / architecture / task
            model.export_task(task, folder, processing_class=make_tokenizer())
            inputs = make_tokenizer()(texts, padding=True, return_tensors="pt")
            ids = inputs["input_ids"]
            logits = model(task, ids[None]).logits[0] if task == "copa" else model(task, **inputs).logits
            auto_class = auto_class_of(task, architecture).__name__
            expected[str(folder)] = {"auto_class": auto_class, "ids": ids.tolist(), "logits": logits.tolist()}
            if task == "rte":
                expected[str(folder)]["scores"] = logits.softmax(-1).max(-1).values.tolist()
    script = """
        import json, sys

        class Refuse:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] == "hf_alphavil":
                    raise ImportError("not here")

        sys.meta_path.insert(0, Refuse())
        import torch, transformers

        texts = json.loads(sys.argv[2])
        for folder, expected in json.load(open(sys.argv[1])).items():
            auto_class = getattr(transformers, expected["auto_class"])
            model, info = auto_class.from_pretrained(folder, output_loading_info=True)
            assert not any(info.values()), (folder, info)
            ids, logits = torch.tensor(expected["ids"]), torch.tensor(expected["logits"])
            choices = "MultipleChoice" in expected["auto_class"]
            mask = None if choices else (ids != 0).long()
            found = model(ids[None])["logits"][0] if choices else model(ids, attention_mask=mask)["logits"]
            torch.testing.assert_close(found.view(logits.shape), logits, rtol=1e-5, atol=1e-6)
            if not choices:
                # AutoTokenizer would choose Qwen2Tokenizer, which cannot read this toy vocabulary.
                tokenizer = transformers.PreTrainedTokenizerFast.from_pretrained(folder) if "qwen2" in folder else None
                kind = "token" if "Token" in expected["auto_class"] else "text"
                pipeline = transformers.pipeline(f"{kind}-classification", model=folder, tokenizer=tokenizer)
                results = pipeline(texts, batch_size=2)
            if "scores" in expected:
                assert {result["label"] for result in results} <= {"entailment", "not_entailment"}, results
                scores = torch.tensor([result["score"] for result in results])
                torch.testing.assert_close(scores, torch.tensor(expected["scores"]), rtol=1e-4, atol=1e-5)
        assert "hf_alphavil" not in sys.modules
        print("all loaded")
    """
    (tmp_path / "expected.json").write_text(json.dumps(expected))
    (tmp_path / "load.py").write_text(textwrap.dedent(script))
    result = subprocess.run(
        [sys.executable, str(tmp_path / "load.py"), str(tmp_path / "expected.json"), json.dumps(texts)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=300,
    )
    assert result.returncode == 0, result.stderr[-3000:]
    assert result.stdout.strip().endswith("all loaded")


def test_default_configuration_needs_tasks():
    with pytest.raises(ValueError, match="at least one task"):
        MultitaskModel(MultitaskConfig(encoder=BertConfig()))
