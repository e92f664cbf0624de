"""A run in float32 is advised to use bf16 where the device computes it fast, and nowhere else."""

import logging

import pytest
import torch

from hf_alphavil.run.precision_advice import fast_bf16
from support.bert_run import bert_model, bert_trainer

SHORT = {"num_train_epochs": 1, "max_phase_steps": 1}


@pytest.fixture
def amx(monkeypatch):
    """Replaces what torch says about the CPU: it has AMX for bfloat16, or not."""
    return lambda has: monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has}, raising=False)


@pytest.mark.parametrize(
    ("has", "make", "settings", "is_advised"),
    [
        (True, bert_model, {}, True),
        (False, bert_model, {}, False),
        (True, bert_model, {"bf16": True}, False),
        (True, lambda: bert_model().double(), {}, False),
    ],
    ids=["amx", "other CPU", "bf16 already", "float64"],
)
def test_a_cpu_with_amx(has, make, settings, is_advised, amx, caplog, tmp_path):
    amx(has)
    trainer = bert_trainer(tmp_path, model=make(), **SHORT, **settings)
    with caplog.at_level(logging.INFO, "hf_alphavil"):
        trainer.train()
    advice = [record for record in caplog.records if "--bf16 true" in record.getMessage()]
    assert [record.levelname for record in advice] == ["INFO"] * is_advised
    assert trainer.args.bf16 is settings.get("bf16", False)  # never switched on silently


def test_devices(amx, monkeypatch):
    amx(True)
    assert fast_bf16("cpu") == "this CPU"
    assert fast_bf16("mps") is None
    for has in (True, False):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, has=has: has)
        assert (fast_bf16("cuda") is not None) is has
