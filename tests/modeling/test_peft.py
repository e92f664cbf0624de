"""αVIL with LoRA: which parameters have deltas, and what is merged, saved, resumed and exported."""

import json

import pytest
import torch
from peft import IA3Config, LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification, BertConfig, BertModel

from hf_alphavil import MultitaskModel
from hf_alphavil.modeling import head_modules, merge_adapters, unwrap_peft
from hf_alphavil.modeling.lora import LoraArguments, adapter_settings, load_adapted, load_model
from support.bert_run import HEADS, TARGET, adapted, bert_data, bert_model, bert_trainer

# PEFT itself imports a deprecated name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SGD = {"learning_rate": 0.05, "optim_args": "momentum=0.9"}


def batch(rows=8):
    rows = bert_data()[0][TARGET][:rows]
    return {"input_ids": torch.tensor([row["input_ids"] for row in rows])}


def logits(model, task=TARGET):
    with torch.no_grad():
        return model.eval()(task=task, **batch()).logits


def trainable(model):
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


def test_only_trainable_parameters_have_deltas_and_move(tmp_path):
    model = adapted()
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = bert_trainer(tmp_path, model=model, **SGD)
    trainer.train()
    for epoch in trainer.epochs:
        for delta in epoch["delta"].values():
            assert delta.keys() == trainable(model).keys()
    for name, parameter in model.named_parameters():
        assert torch.equal(before[name], parameter) != parameter.requires_grad, name
    assert trainer.history[-1]["alpha"][TARGET] != 1.0


def test_the_factors_are_merged(tmp_path):
    """θ0 + Σ α δ holds for A and for B, but not for the product B A: see the cross terms in docs/settings.md."""
    trainer = bert_trainer(tmp_path, model=adapted(), **SGD | {"learning_rate": 0.2})
    trainer.train()
    start, deltas, merged = (trainer.epochs[1][key] for key in ("theta0", "delta", "theta"))
    alpha = trainer.history[1]["alpha"]
    for name in merged:
        expected = start[name] + sum(alpha[task] * deltas[task][name] for task in HEADS)
        torch.testing.assert_close(merged[name], expected, rtol=0, atol=1e-6)
    (a,) = (name for name in merged if "layer.0" in name and "query.lora_A" in name)
    b = a.replace("lora_A", "lora_B")
    product = start[b] @ start[a]
    mixed_products = product + sum(
        alpha[task] * ((start[b] + delta[b]) @ (start[a] + delta[a]) - product) for task, delta in deltas.items()
    )
    cross = sum(
        (alpha[one] * alpha[other] - alpha[one] * (one == other)) * deltas[one][b] @ deltas[other][a]
        for one in HEADS
        for other in HEADS
    )
    torch.testing.assert_close(merged[b] @ merged[a] - mixed_products, cross, rtol=0, atol=1e-7)
    assert cross.abs().max() > 1e-5


def test_with_alpha_on_the_encoder_only_heads_are_merged_with_one(tmp_path):
    trainer = bert_trainer(tmp_path, model=adapted(), num_train_epochs=1, alpha_applies_to="encoder", **SGD)
    trainer.train()
    (epoch,) = trainer.epochs
    alpha = trainer.history[0]["alpha"]
    for name, theta in epoch["theta"].items():
        of_encoder = ".encoder." in name
        expected = epoch["theta0"][name] + sum(
            (alpha[task] if of_encoder else 1.0) * delta[name] for task, delta in epoch["delta"].items()
        )
        torch.testing.assert_close(theta, expected, rtol=0, atol=1e-6)
    assert {".encoder." in name for name in epoch["theta"]} == {True, False}


def test_an_equivalent_model_without_adapters_trains_the_same(tmp_path):
    """Only heads train: with an adapter that stays zero, they train as they do on a frozen encoder."""
    model = bert_model()
    model.encoder.requires_grad_(False)
    plain = bert_trainer(tmp_path / "plain", model=model, **SGD)
    plain.train()
    wrapped = adapted()
    for name, parameter in wrapped.named_parameters():
        parameter.requires_grad_("tasks." in name and "modules_to_save" in name)
    peft = bert_trainer(tmp_path / "peft", model=wrapped, **SGD)
    peft.train()
    assert peft.history[-1]["alpha"] == pytest.approx(plain.history[-1]["alpha"], abs=1e-5)
    weights = unwrap_peft(peft.model).tasks[TARGET].classifier.modules_to_save["default"].weight
    torch.testing.assert_close(weights, plain.model.tasks[TARGET].classifier.weight, rtol=0, atol=1e-6)


def test_resume_is_bit_equal_and_checkpoints_are_merged(tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 5, "optim": "adamw_torch", "learning_rate": 0.01}
    whole = bert_trainer(tmp_path / "whole", model=adapted(lora_dropout=0.2), **settings)
    whole.train()
    steps_per_plan = whole.state.max_steps // 2
    saved = range(5, whole.state.max_steps + 1, 5)
    for step in (saved[0], saved[len(saved) // 2], saved[-1]):
        checkpoint = tmp_path / "whole" / f"checkpoint-{step}"
        assert not (checkpoint / "model.safetensors").exists()
        model = adapted(lora_dropout=0.2)
        resumed = bert_trainer(tmp_path / "resumed", model=model, **settings | {"save_strategy": "no"})
        resumed.train(resume_from_checkpoint=str(checkpoint))
        for name, tensor in whole.model.state_dict().items():
            assert torch.equal(tensor, resumed.model.state_dict()[name]), (step, name)
        assert resumed.history == whole.history
        # The adapter file has the last merged parameters, whichever phase it was written in.
        plan = step // steps_per_plan
        merged = whole.epochs[plan]["theta0"] if plan < 2 else whole.epochs[1]["theta"]
        saved = load_file(checkpoint / "adapter_model.safetensors")
        assert len(saved) == len(merged)
        for name, tensor in merged.items():
            # PEFT omits the name of the adapter.
            short = name.replace(".modules_to_save.default", "").replace(".default", "")
            assert torch.equal(saved[short], tensor), (step, name)


def test_best_model_is_loaded_at_the_end(tmp_path):
    settings = {"save_strategy": "epoch", "eval_strategy": "epoch", "load_best_model_at_end": True}
    trainer = bert_trainer(tmp_path, model=adapted(), learning_rate=0.5, num_train_epochs=4, **settings)
    trainer.train()
    losses = [entry[f"eval_{TARGET}_loss"] for entry in trainer.state.log_history if f"eval_{TARGET}_loss" in entry]
    assert losses.index(min(losses)) != len(losses) - 1, "the last model is the best: the test would show nothing"
    best = load_file(f"{trainer.state.best_model_checkpoint}/adapter_model.safetensors")
    for name, tensor in trainer.model.state_dict().items():
        short = name.replace(".modules_to_save.default", "").replace(".default", "")
        if short in best:
            assert torch.equal(best[short], tensor), name
    assert trainer.evaluate()[f"eval_{TARGET}_loss"] == pytest.approx(trainer.state.best_metric, rel=1e-6)
    trainer.train()  # the loaded adapter is still trainable


def test_merged_export_gives_the_same_logits(tmp_path):
    model = adapted()
    trainer = bert_trainer(tmp_path / "run", model=model, **SGD)
    trainer.train()
    expected = {task: logits(model, task) for task in HEADS}
    weights = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match="merge them first"):
        model.export_task(TARGET, tmp_path / "unmerged")
    merged = merge_adapters(model)
    for task in HEADS:
        merged.export_task(task, tmp_path / task)
        native = AutoModelForSequenceClassification.from_pretrained(tmp_path / task).eval()
        torch.testing.assert_close(native(**batch()).logits, expected[task], rtol=1e-4, atol=1e-5)
    # The adapted model is unchanged and can train further.
    assert all(torch.equal(tensor, weights[name]) for name, tensor in model.state_dict().items())
    assert isinstance(trainer.model, PeftModel)
    assert not torch.allclose(expected[TARGET], logits(bert_model()), atol=1e-2)


def test_merging_a_model_without_adapters_returns_it():
    model = bert_model()
    assert merge_adapters(model) is unwrap_peft(model) is model


@pytest.mark.parametrize("base", ["encoder", "multitask model"])
def test_saved_adapters_are_complete(base, tmp_path):
    """The folder of a run needs only the encoder besides: it contains the new pooler and the heads."""
    config = BertConfig(vocab_size=30, hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
                        intermediate_size=16, max_position_embeddings=12)  # fmt: skip
    torch.manual_seed(0)
    BertModel(config, add_pooling_layer=False).save_pretrained(tmp_path / "encoder")
    model = MultitaskModel.from_encoder(tmp_path / "encoder", tasks=HEADS)
    if base == "multitask model":
        model.save_pretrained(tmp_path / "saved")
        model = MultitaskModel.from_pretrained(tmp_path / "saved")
    model = adapted(model=model)
    trainer = bert_trainer(tmp_path / "out", model=model, **SGD)
    trainer.train()
    trainer.save_model()
    torch.manual_seed(5)
    again = load_adapted(str(tmp_path / "out"), HEADS)
    for task in HEADS:
        torch.testing.assert_close(logits(again, task), logits(model, task), rtol=0, atol=1e-6)
    assert trainable(again).keys() == trainable(model).keys()


def test_a_head_that_would_stay_random_is_reported(tmp_path, caplog):
    frozen = get_peft_model(bert_model(), LoraConfig(target_modules=["query"], modules_to_save=["tasks.a.classifier"]))
    bert_trainer(tmp_path, model=frozen)
    (record,) = [record for record in caplog.records if "no trainable parameter" in record.getMessage()]
    assert "b, c" in record.getMessage()
    assert "modules_to_save" in record.getMessage()
    caplog.clear()
    bert_trainer(tmp_path, model=adapted())
    assert "no trainable parameter" not in caplog.text


# ---- What gets adapters


def test_heads_and_pooler_train_fully():
    model = bert_model()
    names = [*(f"tasks.{task}.classifier" for task in HEADS), "encoder.pooler.dense"]
    assert head_modules(model) == names
    wrapped = adapted(model, lora_target_modules=["dense", "query"])
    with_factors = {name.split(".lora_")[0] for name, _ in wrapped.named_parameters() if ".lora_A" in name}
    assert len(with_factors) == 2 * (1 + 3)  # query; attention output, intermediate, output
    assert not any("pooler" in name or "tasks" in name for name in with_factors)


def test_all_linear_layers_of_the_encoder():
    wrapped = adapted(lora_target_modules=["all-linear"])
    with_factors = {name for name, _ in wrapped.named_parameters() if ".lora_A" in name}
    assert len(with_factors) == 2 * 6


def test_unknown_layers_are_refused():
    with pytest.raises(ValueError, match=r"no linear layer named qkv: .* dense, key, query, value"):
        adapted(lora_target_modules=["qkv", "query"])


# ---- Flags beside a folder with adapters


@pytest.fixture(scope="module")
def folder_with_adapters(tmp_path_factory):
    folder = tmp_path_factory.mktemp("adapters")
    bert_model().save_pretrained(folder / "base")
    base = MultitaskModel.from_pretrained(folder / "base")
    model = adapted(base, lora_r=4, lora_target_modules=["query", "value"])
    bert_trainer(folder / "out", model=model).save_model(folder / "saved")
    return folder / "saved"


def loaded(folder, **flags):
    lora = LoraArguments(**{"use_peft": True} | flags)
    lora.given = set(flags)
    return load_model(str(folder), HEADS, lora)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"lora_r": 16}, "lora_r=16 contradicts .*, which have lora_r=4 and keep it: leave --lora_r out"),
        ({"lora_r": 4, "lora_alpha": 9, "lora_dropout": 0.4},
         "lora_alpha=9, lora_dropout=0.4 contradicts .* lora_alpha=4, lora_dropout=0.0 and keep it: "
         "leave --lora_alpha, --lora_dropout out"),
        ({"lora_target_modules": ["key", "query"]}, "=key query contradicts .* lora_target_modules=query value"),
        ({"lora_target_modules": ["all-linear"]}, "lora_target_modules=dense key query value contradicts"),
        ({"use_peft": False}, "use_peft=False contradicts"),
    ],
)  # fmt: skip
def test_flags_that_contradict_the_folder_are_refused(flags, said, folder_with_adapters):
    """Even those that say the default."""
    with pytest.raises(ValueError, match=said):
        loaded(folder_with_adapters, **flags)


def test_flags_that_say_what_the_folder_has(folder_with_adapters):
    config = json.loads((folder_with_adapters / "adapter_config.json").read_text(encoding="utf-8"))
    flags = {"lora_r": config["r"], "lora_alpha": config["lora_alpha"], "lora_dropout": config["lora_dropout"]}
    flags["lora_target_modules"] = ["value", "query"]
    model = loaded(folder_with_adapters, **flags)
    assert adapter_settings(model) == {"use_peft": True, **flags, "lora_target_modules": ["query", "value"]}
    assert adapter_settings(loaded(folder_with_adapters)) == adapter_settings(model)
    assert adapter_settings(bert_model()) == {}
    shapes = {parameter.shape[0] for name, parameter in model.named_parameters() if ".lora_A" in name}
    assert shapes == {config["r"]}


def test_other_adapters_have_no_settings_of_lora(tmp_path):
    bert_model().save_pretrained(tmp_path / "base")
    base = MultitaskModel.from_pretrained(tmp_path / "base")
    config = IA3Config(target_modules=["key"], feedforward_modules=[], modules_to_save=head_modules(base))
    model = get_peft_model(base, config)
    assert adapter_settings(model) == {"use_peft": True}
    bert_trainer(tmp_path / "out", model=model).save_model(tmp_path / "saved")
    with pytest.raises(ValueError, match=r"lora_r=4 contradicts .*, which have lora_r=None"):
        loaded(tmp_path / "saved", lora_r=4)
