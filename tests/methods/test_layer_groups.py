"""Parameters that share an α: by transformer layer, heads apart, for any architecture, wrapper and adapter."""

import pytest
import torch
from transformers import AutoConfig, AutoModel

from hf_alphavil.methods.layer_groups import layer_groups, layer_of
from hf_alphavil.run.delta_bank import alpha_groups
from support.bert_run import HEADS, TARGET, adapted, bert_model, bert_trainer

# PEFT itself asks for a deprecated name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

SIZES = {
    "vocab_size": 30, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 16,
    "max_position_embeddings": 20,
}  # fmt: skip
ENCODERS = {
    "bert": (SIZES, ["embeddings", "encoder.layer.0", "encoder.layer.1", "pooler"]),
    "roberta": (SIZES, ["embeddings", "encoder.layer.0", "encoder.layer.1", "pooler"]),
    "distilbert": (
        {"vocab_size": 30, "dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 16},
        ["embeddings", "transformer.layer.0", "transformer.layer.1"],
    ),
    "modernbert": (SIZES | {"pad_token_id": 0}, ["embeddings", "layers.0", "layers.1", "final_norm"]),
    "gpt2": (
        {"vocab_size": 30, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 20},
        ["wte", "wpe", "h.0", "h.1", "ln_f"],
    ),
    "t5": (
        {"vocab_size": 30, "d_model": 16, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 2, "d_ff": 16,
         "d_kv": 8},
        ["shared", "encoder.block.0", "encoder.block.1", "encoder", "decoder.block.0", "decoder"],
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", ENCODERS)
def test_layers_of_architectures(kind):
    sizes, expected = ENCODERS[kind]
    encoder = AutoModel.from_config(AutoConfig.for_model(kind, **sizes))
    assert list(dict.fromkeys(layer_of(name) for name, _ in encoder.named_parameters())) == expected


def test_lists_within_a_layer_belong_to_the_layer():
    assert layer_of("layers.3.mlp.experts.12.up.weight") == "layers.3"
    assert layer_of("0.weight") == "0"
    assert layer_of("norm2.weight") == "norm2"
    assert layer_of("cls_token") == "cls_token"


def test_all_heads_are_one_group_and_adapters_change_nothing():
    plain = bert_model()
    groups = layer_groups(plain, plain.encoder)
    assert {groups[name] for name in groups if name.startswith("tasks.")} == {"(heads)"}
    assert set(groups.values()) == {"embeddings", "encoder.layer.0", "encoder.layer.1", "pooler", "(heads)"}
    wrapped = adapted()
    trainable = {name for name, p in wrapped.named_parameters() if p.requires_grad}
    groups = layer_groups(wrapped, wrapped.get_base_model().encoder)
    for name in trainable:
        (group,) = {
            expected
            for part, expected in [
                (".layer.0.", "encoder.layer.0"), (".layer.1.", "encoder.layer.1"), (".pooler.", "pooler"),
                (".tasks.", "(heads)"),
            ]
            if part in name
        }  # fmt: skip
        assert groups[name] == group, name


@pytest.mark.parametrize("lora", [False, True], ids=["bert", "lora"])
@pytest.mark.parametrize("part", ["all", "encoder"])
def test_a_run_merges_each_layer_with_its_alpha(lora, part, tmp_path):
    model = adapted() if lora else bert_model()
    trainer = bert_trainer(tmp_path, model=model, alpha_granularity="layer", alpha_applies_to=part, learning_rate=0.05)
    trainer.train()
    groups = alpha_groups(trainer.runner.context)
    for entry, epoch in zip(trainer.history, trainer.epochs, strict=True):
        by_layer = entry["alpha_by_layer"]
        assert ("(heads)" in by_layer[TARGET]) == (part == "all")
        assert by_layer[TARGET].keys() - {"(heads)"} == {groups[name] for name in epoch["theta"]} - {"(heads)"}
        for name, theta in epoch["theta"].items():
            expected = epoch["theta0"][name] + sum(
                by_layer[task].get(groups[name], 1.0) * epoch["delta"][task][name] for task in HEADS
            )
            torch.testing.assert_close(theta, expected, rtol=0, atol=1e-6)
        for task in HEADS:
            of_encoder = [alpha for group, alpha in by_layer[task].items() if group != "(heads)"]
            assert entry["alpha"][task] == pytest.approx(sum(of_encoder) / len(of_encoder))
        if part == "all":
            # A head of another task is not in the target's loss.
            assert {by_layer[task]["(heads)"] for task in HEADS if task != TARGET} == {1.0}
        assert len({round(alpha, 4) for alpha in by_layer[TARGET].values()}) > 2
