"""The model as a torch module: names, copies, dtypes, embeddings, checkpointing, rebinding, other kinds of head."""

from __future__ import annotations

import copy
import inspect
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AlbertConfig,
    AutoModelForMaskedLM,
    BertForMaskedLM,
    Qwen2Config,
    T5Config,
)
from transformers.utils import find_labels

from hf_alphavil.demo.suite import demo_encoder
from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from hf_alphavil.modeling.encoder_reference import EncoderReference
from support.modeling_helpers import DECODERS, ENCODERS, TASKS, checkpoint_activations, make_batch, shake


def references(model):
    return [
        value for native in model.tasks.values() for value in vars(native).values() if type(value) is EncoderReference
    ]


def test_every_parameter_has_one_name(model):
    named = list(model.named_parameters(remove_duplicate=False))
    assert len({id(parameter) for _, parameter in named}) == len(named)
    encoder = model.encoder_parameter_names()
    assert {id(dict(named)[name]) for name in encoder} == {id(parameter) for parameter in model.encoder.parameters()}
    assert {name.split(".")[0] for name, _ in named} == {"encoder", "tasks"}
    assert {name.split(".")[1] for name, _ in named if name not in encoder} == set(TASKS)


def test_finite_weights_whose_sum_is_not(tmp_path):
    demo_encoder(tmp_path)
    file = tmp_path / "model.safetensors"
    tensors = load_file(file)
    tensors["embeddings.LayerNorm.bias"].fill_(3e38)
    save_file(tensors, file, metadata={"format": "pt"})
    model = MultitaskModel.from_encoder(tmp_path, TASKS)
    assert bool((model.encoder.embeddings.LayerNorm.bias == 3e38).all())


def test_attributes_that_trainer_reads():
    assert find_labels(MultitaskModel) == ["labels"]
    assert list(inspect.signature(MultitaskModel.forward).parameters)[:8] == [
        "self",
        "task",
        "input_ids",
        "attention_mask",
        "token_type_ids",
        "position_ids",
        "inputs_embeds",
        "labels",
    ]
    assert MultitaskModel.accepts_loss_kwargs is False
    assert MultitaskModel.main_input_name == "input_ids"


def test_flags_come_from_the_encoder(bert):
    assert bert.supports_gradient_checkpointing is True
    assert bert._no_split_modules == set(bert.encoder._no_split_modules)
    albert = AlbertConfig(
        vocab_size=60,
        embedding_size=8,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    assert MultitaskModel(MultitaskConfig(encoder=albert, tasks=TASKS)).supports_gradient_checkpointing is False


def test_deepcopy_is_a_separate_model(model, encoder_config):
    copied = copy.deepcopy(model)
    assert all(reference._encoder is copied.encoder for reference in references(copied))
    assert all(reference._encoder is model.encoder for reference in references(model))
    assert len(references(copied)) == len(TASKS)
    batch = make_batch("rte", pad=encoder_config.pad_token_id)
    before = model(task="rte", **batch).logits
    assert torch.equal(copied(task="rte", **batch).logits, before)
    with torch.no_grad():
        for parameter in copied.encoder.parameters():
            parameter.mul_(1.5)
    assert torch.equal(model(task="rte", **batch).logits, before)
    assert not torch.allclose(copied(task="rte", **batch).logits, before)


def test_deepcopy_of_one_native_shares_the_encoder(bert):
    native = copy.deepcopy(bert.tasks["rte"])
    assert native.bert._encoder is bert.encoder


def test_pickle(bert):
    loaded = pickle.loads(pickle.dumps(bert))
    assert all(reference._encoder is loaded.encoder for reference in references(loaded))
    assert torch.equal(loaded(task="rte", **make_batch("rte")).logits, bert(task="rte", **make_batch("rte")).logits)


def test_train_eval_and_dtype_reach_everything(model, encoder_config):
    model.train()
    assert all(module.training for module in model.modules())
    model.eval()
    assert not any(module.training for module in model.modules())
    model.double()
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float64}
    batch = make_batch("rte", pad=encoder_config.pad_token_id)
    assert model(task="rte", **batch).logits.dtype == torch.float64
    model.to(torch.bfloat16)
    assert model(task="rte", **batch).logits.dtype == torch.bfloat16


def test_a_replaced_encoder_is_used(bert):
    other = shake(copy.deepcopy(bert.encoder), seed=5)
    batch = make_batch("rte")
    before = bert(task="rte", **batch).logits
    bert.encoder = other
    assert all(reference._encoder is other for reference in references(bert))
    assert not torch.allclose(bert(task="rte", **batch).logits, before)


def test_hooks_on_the_encoder_run(bert):
    calls = []
    bert.encoder.register_forward_hook(lambda *arguments: calls.append(1))
    bert(task="rte", **make_batch("rte"))
    bert(task="copa", **make_batch("copa"))
    assert calls == [1, 1]


def test_compiled_encoder_has_the_same_names_and_values(bert):
    batch = make_batch("rte")
    before, names = bert(task="rte", **batch).logits, list(bert.state_dict())
    bert.encoder.compile(backend="eager")
    torch.testing.assert_close(bert(task="rte", **batch).logits, before)
    assert list(bert.state_dict()) == names


@pytest.mark.parametrize(
    ("architecture", "tasks"),
    [
        ("bert", ["copa"]),
        pytest.param("bert", ["rte", "sts-b"], marks=pytest.mark.slow),
        pytest.param("qwen2", ["rte", "copa"], marks=pytest.mark.slow),
    ],
)
def test_whole_model_compiles_to_one_graph_per_task(model, tasks):
    torch.compiler.reset()
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    for task in tasks:
        batch = make_batch(task)
        torch.testing.assert_close(compiled(task=task, **batch).logits, model(task=task, **batch).logits)


def test_data_parallel_is_refused(bert):
    with pytest.raises(NotImplementedError, match="torchrun"):
        bert._replicate_for_data_parallel()


# --- embeddings and padding


def test_resize_reaches_every_configuration(model, encoder_config, tmp_path):
    batch = make_batch("rte", pad=encoder_config.pad_token_id)
    before = model(task="rte", **batch).logits
    embeddings = model.resize_token_embeddings(64)
    assert embeddings is model.get_input_embeddings() is model.encoder.get_input_embeddings()
    assert embeddings.weight.shape[0] == 64
    assert model.config.get_text_config().vocab_size == 64
    assert {native.config.vocab_size for native in model.tasks.values()} == {64}
    assert {model.config.task_config(task).vocab_size for task in TASKS} == {64}
    torch.testing.assert_close(model(task="rte", **batch).logits, before)
    model(task="rte", input_ids=torch.tensor([[63, 62]]))

    model.save_pretrained(tmp_path)
    assert MultitaskModel.from_pretrained(tmp_path).get_input_embeddings().weight.shape[0] == 64


def test_set_input_embeddings_sets_those_of_the_encoder(model):
    new = torch.nn.Embedding.from_pretrained(model.get_input_embeddings().weight.detach() * 2)
    model.set_input_embeddings(new)
    assert model.encoder.get_input_embeddings() is new
    for native in model.tasks.values():
        assert native.get_input_embeddings() is new
    # Some native models write attributes of their base model. These must reach the encoder, not the reference.
    last = torch.nn.Embedding(60, new.embedding_dim)
    next(iter(model.tasks.values())).set_input_embeddings(last)
    assert model.encoder.get_input_embeddings() is last


@pytest.fixture
def without_pad() -> MultitaskModel:
    config = ENCODERS["qwen2"]()
    config.pad_token_id = None
    return shake(MultitaskModel(MultitaskConfig(encoder=config, tasks=TASKS))).eval()


def test_pad_token_of_a_decoder(without_pad):
    batch = make_batch("rte")
    with pytest.raises(ValueError, match="batch sizes > 1"):
        without_pad(task="rte", **batch)
    without_pad.pad_token_id = 0
    assert without_pad.pad_token_id == without_pad.config.encoder.pad_token_id == 0
    assert {native.config.pad_token_id for native in without_pad.tasks.values()} == {0}
    batched = without_pad(task="rte", **batch).logits
    alone = without_pad(task="rte", input_ids=batch["input_ids"][:1, :5]).logits
    torch.testing.assert_close(batched[:1], alone)


def test_pad_token_that_trainer_sets(without_pad, tmp_path):
    # Trainer aligns the encoder's configuration with the tokenizer, but not the copies of the native models.
    without_pad.config.get_text_config().pad_token_id = 0
    without_pad(task="rte", **make_batch("rte"))
    without_pad(task="copa", **make_batch("copa"))
    without_pad.export_task("rte", tmp_path)
    assert Qwen2Config.from_pretrained(tmp_path).pad_token_id == 0


# --- gradient checkpointing


@pytest.mark.parametrize("task", ["rte", "copa"])
def test_gradient_checkpointing_gives_the_same_gradients(encoder_folder, encoder_config, architecture, task):
    def gradients(checkpointing: bool):
        torch.manual_seed(0)
        model = shake(MultitaskModel.from_encoder(encoder_folder, TASKS))
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model.train()
        runs = []
        name = "layers" if architecture in (*DECODERS, "modernbert") else "encoder.layer"
        layer = model.encoder.get_submodule(name)[0]
        inner = next(child for child in layer.modules() if isinstance(child, torch.nn.Linear))
        inner.register_forward_hook(lambda *arguments: runs.append(1))
        if checkpointing:
            checkpoint_activations(model)
        model(task=task, **make_batch(task, pad=encoder_config.pad_token_id)).loss.backward()
        return {name: p.grad for name, p in model.named_parameters() if p.grad is not None}, len(runs)

    plain, once = gradients(False)
    checkpointed, twice = gradients(True)
    assert plain.keys() == checkpointed.keys()
    for name in plain:
        torch.testing.assert_close(checkpointed[name], plain[name], msg=name)
    assert twice == 2 * once  # the layer was run again in the backward pass


# --- other kinds of head


def test_head_tied_to_the_encoder_stays_tied(tmp_path):
    tasks = {"rte": TASKS["rte"], "mlm-1": {"kind": "masked_lm"}}
    model = shake(MultitaskModel(MultitaskConfig(encoder=ENCODERS["bert"](), tasks=tasks))).eval()
    model.save_pretrained(tmp_path / "model")
    loaded, info = MultitaskModel.from_pretrained(tmp_path / "model", output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    for each in (model, loaded, copy.deepcopy(model)):
        each.tie_weights()  # as resizing and merging do
        decoder = each.tasks["mlm-1"].cls.predictions.decoder
        assert decoder.weight is each.get_input_embeddings().weight
        assert decoder.bias is each.tasks["mlm-1"].cls.predictions.bias
    ids = torch.randint(5, 60, (2, 6))
    torch.testing.assert_close(loaded("mlm-1", ids).logits, model("mlm-1", ids).logits)

    model.export_task("mlm-1", tmp_path / "mlm")
    native, info = AutoModelForMaskedLM.from_pretrained(tmp_path / "mlm", output_loading_info=True)
    assert type(native) is BertForMaskedLM
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]  # it does not contain the pooler that classification needs
    assert native.cls.predictions.decoder.weight is native.bert.embeddings.word_embeddings.weight
    torch.testing.assert_close(native(ids).logits, model("mlm-1", ids).logits)


def test_tasks_on_different_base_classes_are_refused():
    config = T5Config(vocab_size=60, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2)
    tasks = {"rte": TASKS["rte"], "ner": {"kind": "token_classification", "labels": ["a", "b"]}}
    with pytest.raises(ValueError, match=r"cannot share one encoder of the architecture 't5'.*T5EncoderModel"):
        MultitaskModel(MultitaskConfig(encoder=config, tasks=tasks))


def test_architecture_without_a_native_class():
    from transformers import ViTConfig

    with pytest.raises(ValueError, match="'vit' has no native class for sequence classification"):
        MultitaskModel(MultitaskConfig(encoder=ViTConfig(), tasks={"rte": TASKS["rte"]}))


def test_wrong_encoder_is_refused(encoder_folders):
    from transformers import AutoModel, BertModel

    config = MultitaskConfig(encoder=ENCODERS["bert"](), tasks=TASKS)
    with pytest.raises(ValueError, match="need a BertModel as encoder, got a ElectraModel"):
        MultitaskModel(config, encoder=AutoModel.from_pretrained(encoder_folders("electra")))
    with pytest.raises(ValueError, match=r"with \['pooler.dense.bias'"):
        MultitaskModel(config, encoder=BertModel(ENCODERS["bert"](), add_pooling_layer=False))


def test_no_pooler_where_no_task_needs_one():
    without = {"rte": TASKS["rte"]}
    roberta = MultitaskModel(MultitaskConfig(encoder=ENCODERS["roberta"](), tasks=without))
    assert roberta.encoder.pooler is None
    roberta = MultitaskModel(MultitaskConfig(encoder=ENCODERS["roberta"](), tasks=TASKS))
    assert roberta.encoder.pooler is not None
