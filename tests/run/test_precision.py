"""Mixed precision: autocast in training, float32 masters, and an α step with or without autocast."""

import pytest
import torch

from support.bert_run import TARGET, adapted, bert_data, bert_model, bert_trainer

SGD = {"learning_rate": 0.05, "optim_args": "momentum=0.9", "tf32": False}
ignore_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


def meta_loss(model, dtype=None):
    """The target's loss over the meta set, by a separate forward pass, under autocast if a dtype is given."""
    _, rows = bert_data()
    inputs = {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}
    with torch.no_grad(), torch.autocast("cpu", dtype or torch.bfloat16, enabled=dtype is not None):
        return model.eval()(task=TARGET, **inputs).loss.item()


def assert_alpha_step_was_float32(trainer, fresh, dtype):
    """The first loss of every epoch's α step is that of θ0 + Σ δ in float32, and is not that under autocast."""
    differences = []
    for entry, epoch in zip(trainer.history, trainer.epochs, strict=True):
        for tensors in (epoch["theta0"], epoch["theta"], *epoch["delta"].values()):
            assert {tensor.dtype for tensor in tensors.values()} == {torch.float32}
        start = {
            name: tensor + sum(delta[name] for delta in epoch["delta"].values())
            for name, tensor in epoch["theta0"].items()
        }
        fresh.load_state_dict(start, strict=False)
        assert entry["meta_loss"][0] == pytest.approx(meta_loss(fresh), abs=2e-6)
        differences.append(abs(meta_loss(fresh, dtype) - entry["meta_loss"][0]))
    assert max(differences) > 1e-5


@ignore_peft
@pytest.mark.parametrize(
    "make", [pytest.param(bert_model, id="full"), pytest.param(adapted, id="lora", marks=pytest.mark.slow)]
)
def test_bf16_autocast(make, tmp_path):
    trainer = bert_trainer(tmp_path / "bf16", model=make(), bf16=True, alpha_autocast=False, **SGD)
    trainer.train()
    assert_alpha_step_was_float32(trainer, make(), torch.bfloat16)
    # Training itself was under autocast, and still is after the α step.
    full = bert_trainer(tmp_path / "full", model=make(), **SGD)
    full.train()
    name, mine = next((name, delta) for name, delta in trainer.epochs[0]["delta"][TARGET].items() if "query" in name)
    theirs = full.epochs[0]["delta"][TARGET][name]
    assert not torch.equal(mine, theirs)
    torch.testing.assert_close(mine, theirs, rtol=0, atol=0.1 * theirs.abs().max().item())
    inputs = {"task": TARGET, "input_ids": torch.arange(6)[None]}
    plain = full.model.eval()
    plain.load_state_dict(trainer.model.state_dict())
    with torch.no_grad():
        under_autocast = trainer.model.eval()(**inputs).logits
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(under_autocast, plain(**inputs).logits.float())
        assert not torch.equal(under_autocast, plain(**inputs).logits)


def test_alpha_step_under_autocast(tmp_path):
    """Both losses of the acceptance test are autocast as well; deltas stay float32."""
    trainer, fresh = bert_trainer(tmp_path, bf16=True, alpha_autocast=True, **SGD), bert_model()
    trainer.train()
    apart = []
    for entry, epoch in zip(trainer.history, trainer.epochs, strict=True):
        assert {tensor.dtype for delta in epoch["delta"].values() for tensor in delta.values()} == {torch.float32}
        sums = {
            name: start + sum(delta[name] for delta in epoch["delta"].values())
            for name, start in epoch["theta0"].items()
        }
        for state, loss in ((sums, entry["acceptance_loss"][0]), (epoch["theta"], entry["acceptance_loss"][1])):
            fresh.load_state_dict(state, strict=False)
            exact, autocast = meta_loss(fresh), meta_loss(fresh, torch.bfloat16)
            apart.append(abs(exact - autocast))
            assert loss == pytest.approx(autocast, abs=1e-6)
    assert max(apart) > 1e-4
    assert not any(entry["alpha_diverged"] for entry in trainer.history)


def test_resume_under_bf16_is_bit_equal(tmp_path):
    settings = {"bf16": True, "dropout": 0.2, "optim": "adamw_torch", "learning_rate": 0.01}
    whole = bert_trainer(tmp_path / "whole", save_strategy="steps", save_steps=8, **settings)
    whole.train()
    resumed = bert_trainer(tmp_path / "resumed", **settings)
    resumed.train(resume_from_checkpoint=str(tmp_path / "whole" / "checkpoint-8"))
    for name, tensor in whole.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name
    assert resumed.history == whole.history


# ---- fp16 needs a gradient scaler, which accelerate makes only for accelerators


def test_fp16_on_a_cpu_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"fp16=True has no effect on the device 'cpu'.*bf16=True"):
        bert_trainer(tmp_path, fp16=True)


def fp16_trainer(folder, scale):
    """What accelerate does on a GPU, on the CPU: autocast to float16 and torch's own gradient scaler."""
    trainer = bert_trainer(folder, **SGD, regression_scale="none")
    trainer.args.alpha_autocast = True  # has no effect
    accelerator = trainer.accelerator
    accelerator.state._mixed_precision = "fp16"
    accelerator.native_amp = True
    accelerator.autocast_handler = None
    accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=scale)
    return trainer


def test_fp16_autocast_with_a_scaler(tmp_path):
    trainer = fp16_trainer(tmp_path, 1024.0)
    trainer.train()
    assert_alpha_step_was_float32(trainer, bert_model(), torch.float16)
    full = bert_trainer(tmp_path / "full", **SGD, regression_scale="none")
    full.train()
    for name, tensor in full.epochs[0]["delta"][TARGET].items():
        mine = trainer.epochs[0]["delta"][TARGET][name]
        torch.testing.assert_close(mine, tensor, rtol=0, atol=0.02)
    assert trainer.history[0]["alpha"] == pytest.approx(full.history[0]["alpha"], abs=0.05)


def test_steps_that_the_scaler_skips_leave_no_delta(tmp_path):
    """Every gradient overflows: no step, δ of zero, α at its start, and not one NaN."""
    trainer = fp16_trainer(tmp_path, 2.0**100)
    trainer.train()
    for epoch in trainer.epochs:
        assert all(not delta.any() for deltas in epoch["delta"].values() for delta in deltas.values())
    assert {alpha for entry in trainer.history for alpha in entry["alpha"].values()} == {1.0}
    for name, tensor in bert_model().state_dict().items():
        assert torch.equal(trainer.model.state_dict()[name], tensor)
