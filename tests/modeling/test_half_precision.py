"""A frozen encoder in half precision below float32 adapters and heads: training, resuming, saving and exporting."""

import copy
from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForSequenceClassification, BertModel, LlamaConfig, LlamaModel

from hf_alphavil import MultitaskConfig, MultitaskModel
from hf_alphavil.distributed.refusals import check_dtypes
from hf_alphavil.modeling import head_modules, merge_adapters, unwrap_peft, upcast_trainable
from hf_alphavil.modeling.lora import load_adapted, load_model
from hf_alphavil.modeling.lora_arguments import LoraArguments
from support.bert_run import HEADS, TARGET, adapted, bert_data, bert_model, bert_trainer

# PEFT itself imports a deprecated name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SGD = {"learning_rate": 0.05, "optim_args": "momentum=0.9"}
BF16 = 0.03  # the relative error of sums of a few bfloat16 products


def llama_model():
    config = LlamaConfig(
        vocab_size=30, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, num_key_value_heads=1,
        intermediate_size=16, max_position_embeddings=12, initializer_range=0.2, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return MultitaskModel(MultitaskConfig(encoder=config, tasks=HEADS))


ENCODERS = {"bert": bert_model, "llama": llama_model}


def in_dtype(model, dtype):
    """A copy with parameters of a dtype. Buffers, such as rotary frequencies, stay as `from_pretrained` makes them."""
    model = copy.deepcopy(model)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model


def half_and_full(name, dtype=torch.bfloat16):
    """Two models with adapters and equal weights, on an encoder in half precision and in float32."""
    half = in_dtype(ENCODERS[name](), dtype)
    full = in_dtype(half, torch.float32)
    return adapted(half, lora_target_modules=["all-linear"]), adapted(full, lora_target_modules=["all-linear"])


def exported_logits(native, **task):
    """The logits of the target's first rows, by a model of one task."""
    ids = torch.tensor([row["input_ids"] for row in bert_data()[0][TARGET][:8]])
    with torch.no_grad():
        return native.eval()(input_ids=ids, **task).logits


def logits(model, task=TARGET):
    return exported_logits(model, task=task)


def dtypes(model):
    """The dtypes of trainable and of frozen parameters."""
    return tuple({p.dtype for p in model.parameters() if p.requires_grad == trains} for trains in (True, False))


def assert_close(one, other, tolerance):
    torch.testing.assert_close(one, other, rtol=0, atol=tolerance * other.abs().max().item())


@pytest.fixture(scope="module", params=ENCODERS)
def trained(request, tmp_path_factory):
    """A run on an encoder in bfloat16, with checkpoints, and the same on the same weights in float32."""
    settings = {"save_strategy": "steps", "save_steps": 5, **SGD}
    folder = tmp_path_factory.mktemp("half")
    models = dict(zip(("half", "full"), half_and_full(request.param), strict=True))
    frozen = {name: p.clone() for name, p in models["half"].named_parameters() if not p.requires_grad}
    trainers = {name: bert_trainer(folder / name, model=model, **settings) for name, model in models.items()}
    for trainer in trainers.values():
        trainer.train()
    return SimpleNamespace(**trainers, name=request.param, folder=folder, settings=settings, frozen=frozen)


def test_only_float32_parameters_train(trained):
    model = trained.half.model
    assert dtypes(model) == ({torch.float32}, {torch.bfloat16})
    for name, parameter in trained.frozen.items():
        assert torch.equal(parameter, model.get_parameter(name)), name
    trainable = {name for name, p in model.named_parameters() if p.requires_grad}
    for epoch, entry in zip(trained.half.epochs, trained.half.history, strict=True):
        assert len(epoch["delta"]) == len(HEADS)
        for delta in epoch["delta"].values():
            assert delta.keys() == trainable
            assert {tensor.dtype for tensor in delta.values()} == {torch.float32}
        for name, theta in epoch["theta"].items():
            merged = epoch["theta0"][name].double() + sum(
                entry["alpha"][task] * delta[name].double() for task, delta in epoch["delta"].items()
            )
            assert (theta.double() - merged).abs().max() <= 2**-22 * merged.abs().max()


def test_it_trains_as_on_float32_weights(trained):
    for name, delta in trained.half.epochs[0]["delta"][TARGET].items():
        assert_close(delta, trained.full.epochs[0]["delta"][TARGET][name], 0.15)
    assert trained.half.history[0]["meta_loss"] == pytest.approx(trained.full.history[0]["meta_loss"], rel=BF16)
    for task in HEADS:
        assert logits(trained.half.model, task).dtype == torch.float32
        assert not torch.equal(logits(trained.half.model, task), logits(trained.full.model, task))


def test_resume_is_bit_equal(trained):
    checkpoint = trained.folder / "half" / "checkpoint-5"
    model, _ = half_and_full(trained.name)
    resumed = bert_trainer(trained.folder / "resumed", model=model, **trained.settings | {"save_strategy": "no"})
    resumed.train(resume_from_checkpoint=str(checkpoint))
    for name, tensor in trained.half.model.state_dict().items():
        assert tensor.dtype == resumed.model.state_dict()[name].dtype
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert resumed.history == trained.half.history


def test_an_export_has_float32_weights_and_the_same_logits(trained):
    model = trained.half.model
    upcast = in_dtype(model, torch.float32)
    merged = merge_adapters(model)
    for task in HEADS:
        merged.export_task(task, trained.folder / task)
        native = AutoModelForSequenceClassification.from_pretrained(trained.folder / task).eval()
        assert {parameter.dtype for parameter in native.parameters()} == {torch.float32}
        exported = exported_logits(native)
        torch.testing.assert_close(exported, logits(upcast, task), rtol=1e-4, atol=1e-5)
        assert_close(logits(model, task), exported, BF16)
    assert dtypes(model) == ({torch.float32}, {torch.bfloat16})


@pytest.mark.parametrize("name", ENCODERS)
def test_it_trains_under_autocast(name, tmp_path):
    half, full = half_and_full(name)
    trainers = [
        bert_trainer(tmp_path / str(number), model=model, bf16=True, num_train_epochs=1, **SGD)
        for number, model in enumerate((half, full))
    ]
    for trainer in trainers:
        trainer.train()
    for parameter, delta in trainers[0].epochs[0]["delta"][TARGET].items():
        assert_close(delta, trainers[1].epochs[0]["delta"][TARGET][parameter], 0.15)


def test_a_base_in_float16(tmp_path):
    model, full = half_and_full("bert", torch.float16)
    assert_close(logits(model), logits(full), BF16)
    trainer = bert_trainer(tmp_path, model=model, num_train_epochs=1, **SGD)
    trainer.train()
    assert dtypes(model) == ({torch.float32}, {torch.float16})


@pytest.mark.parametrize("base", ["encoder", "multitask model"])
def test_a_saved_run_is_loaded_with_its_dtypes(base, tmp_path):
    path = tmp_path / "encoder"
    BertModel(bert_model().config.encoder).save_pretrained(path)
    if base == "multitask model":
        MultitaskModel.from_encoder(path, tasks=HEADS).save_pretrained(path)
    model = load_model(str(path), HEADS, LoraArguments(use_peft=True, dtype="bfloat16", lora_r=2))
    assert dtypes(model) == ({torch.float32}, {torch.bfloat16})
    trainer = bert_trainer(tmp_path / "out", model=model, num_train_epochs=1, **SGD)
    trainer.train()
    trainer.save_model()
    again = load_adapted(str(tmp_path / "out"), HEADS)
    assert dtypes(again) == dtypes(model)
    for name, parameter in model.named_parameters():
        if ".original_module." not in name:  # not used: its adapter's copy is
            assert torch.equal(parameter, again.get_parameter(name)), name
    assert torch.equal(logits(again), logits(model))
    full = load_model(str(tmp_path / "out"), HEADS, LoraArguments(use_peft=True, dtype="float32"))
    assert dtypes(full) == ({torch.float32}, {torch.float32})
    assert_close(logits(full), logits(model), BF16)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_quantized_encoder(bits, tmp_path):
    pytest.importorskip("bitsandbytes")
    LlamaModel(llama_model().config.encoder).save_pretrained(tmp_path / "encoder")
    args = LoraArguments(use_peft=True, lora_r=2, **{f"load_in_{bits}bit": True})
    model = load_model(str(tmp_path / "encoder"), HEADS, args)
    trainer = bert_trainer(tmp_path / "out", model=model, num_train_epochs=1, **SGD)
    trainer.train()
    trainer.save_model()
    again = load_adapted(str(tmp_path / "out"), HEADS)
    assert dtypes(model) == dtypes(again)
    assert {4: torch.uint8, 8: torch.int8}[bits] in dtypes(model)[1]
    assert dtypes(model)[0] == {torch.float32}
    assert torch.equal(logits(again), logits(model))
    trainer.export_task(TARGET, tmp_path / "export")
    native = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export").eval()
    assert {parameter.dtype for parameter in native.parameters()} == {torch.float32}
    assert_close(exported_logits(native), logits(model), 2 * BF16)


# ---- Refusals


def test_trainable_half_precision_is_refused(tmp_path):
    model = get_peft_model(
        bert_model().bfloat16(), LoraConfig(r=2, target_modules=["query"], modules_to_save=head_modules(bert_model()))
    )
    with pytest.raises(ValueError, match=r"parameter .*bfloat16.*hf_alphavil\.modeling\.upcast_trainable"):
        bert_trainer(tmp_path, model=model)
    bert_trainer(tmp_path, model=upcast_trainable(model))


def test_a_frozen_encoder_without_adapters(tmp_path):
    model = bert_model().bfloat16()
    model.encoder.requires_grad_(False)
    trainer = bert_trainer(tmp_path, model=upcast_trainable(model), num_train_epochs=1, **SGD)
    trainer.train()
    assert dtypes(unwrap_peft(trainer.model)) == ({torch.float32}, {torch.bfloat16})


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dtype": "bfloat16"}, "dtype=bfloat16 without use_peft=True would train .* add --use_peft, .* --bf16 true"),
        ({"load_in_4bit": True}, "load_in_4bit=True without use_peft=True"),
        ({"use_peft": True, "load_in_4bit": True, "load_in_8bit": True}, "contradict each other"),
    ],
)
def test_half_precision_without_adapters_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        LoraArguments(**settings)


def test_quantization_without_its_library_is_refused(monkeypatch):
    monkeypatch.setattr("hf_alphavil.modeling.lora_arguments.find_spec", lambda name: None)
    with pytest.raises(ImportError, match="pip install bitsandbytes"):
        LoraArguments(use_peft=True, load_in_8bit=True).base_arguments()


def test_a_multitask_model_is_not_quantized(tmp_path, monkeypatch):
    monkeypatch.setattr("hf_alphavil.modeling.lora_arguments.find_spec", lambda name: object())
    bert_model().save_pretrained(tmp_path)
    with pytest.raises(ValueError, match="multitask model, whose heads cannot be quantized: pass the plain encoder"):
        load_model(str(tmp_path), HEADS, LoraArguments(use_peft=True, load_in_4bit=True))


def test_fsdp2_does_not_shard_several_dtypes():
    model = half_and_full("bert")[0]
    check_dtypes(SimpleNamespace(is_fsdp2=False), model)
    check_dtypes(SimpleNamespace(is_fsdp2=True), bert_model())
    with pytest.raises(ValueError, match=r"bfloat16 and float32, which FSDP2 does not shard .* dtype=torch\.float32"):
        check_dtypes(SimpleNamespace(is_fsdp2=True), model)
