"""The model with transformers' Trainer, with adapters and with DistributedDataParallel."""

from __future__ import annotations

import pytest
import torch
import torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.nn.parallel import DistributedDataParallel
from transformers import Trainer, TrainingArguments

from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from support.forking import fork
from support.modeling_helpers import ENCODERS, TASKS, checkpoint_activations, make_batch, shake

# PEFT itself imports a deprecated name.
ignore_peft = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")


class Rows(torch.utils.data.Dataset):
    """Twelve examples in groups of four, one task per group."""

    def __init__(self) -> None:
        generator = torch.Generator().manual_seed(0)
        self.rows = [
            {
                "task": ("rte", "cb", "rte")[index // 4],
                "input_ids": torch.randint(5, 60, (6,), generator=generator),
                "labels": torch.tensor(index % 2),
            }
            for index in range(12)
        ]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict:
        return self.rows[index]


def collate(rows: list[dict]) -> dict:
    (task,) = {row["task"] for row in rows}
    return {"task": task, **{key: torch.stack([row[key] for row in rows]) for key in ("input_ids", "labels")}}


def no_dropout(architecture: str) -> MultitaskModel:
    config = ENCODERS[architecture]()
    for name in ("hidden_dropout_prob", "attention_probs_dropout_prob"):
        if hasattr(config, name):
            setattr(config, name, 0.0)
    torch.manual_seed(0)
    return shake(MultitaskModel(MultitaskConfig(encoder=config, tasks=TASKS)))


def train(model, folder, batch_size: int, accumulation: int):
    arguments = TrainingArguments(
        output_dir=str(folder),
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=accumulation,
        per_device_eval_batch_size=4,
        num_train_epochs=1,
        learning_rate=0.1,
        lr_scheduler_type="constant",
        max_grad_norm=1e6,
        optim="sgd",
        train_sampling_strategy="sequential",
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        logging_steps=1,
        ddp_find_unused_parameters=True,
    )
    trainer = Trainer(model=model, args=arguments, train_dataset=Rows(), eval_dataset=Rows(), data_collator=collate)
    trainer.train()
    return trainer


@pytest.mark.parametrize("architecture", ["bert", "modernbert", "qwen2"])
def test_accumulated_batches_equal_one_full_batch(architecture, tmp_path):
    whole, parts = no_dropout(architecture), no_dropout(architecture)
    trainers = [train(whole, tmp_path, 4, 1), train(parts, tmp_path, 2, 2)]
    for (name, left), right in zip(whole.named_parameters(), parts.parameters(), strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-6, msg=name)
    logs = [[entry for entry in trainer.state.log_history if "loss" in entry] for trainer in trainers]
    assert len(logs[0]) == len(logs[1]) == 3
    for left, right in zip(*logs, strict=True):
        assert left["loss"] == pytest.approx(right["loss"], rel=1e-3)
        assert left["grad_norm"] == pytest.approx(right["grad_norm"], rel=1e-3)


@pytest.mark.parametrize("architecture", ["bert", "qwen2"])
def test_trainer_predicts_only_logits(architecture, tmp_path):
    trainer = train(no_dropout(architecture), tmp_path, 4, 1)
    rows = Rows()
    rows.rows = rows.rows[:4]
    output = trainer.predict(rows)
    assert output.predictions.shape == (4, 2)  # neither cache nor hidden states besides the logits
    assert output.label_ids.shape == (4,)


def lora(model, **options):
    return get_peft_model(
        model, LoraConfig(r=2, target_modules=["query", "value"], init_lora_weights=False, **options)
    )


@ignore_peft
@pytest.mark.parametrize("kept", [["classifier"], ["tasks.rte", "tasks.copa"]])
def test_adapters_and_kept_heads_are_trained(bert, kept):
    # If the base were an ordinary attribute, saving a whole task would clone the encoder: no adapter gets a gradient.
    parameters = bert.encoder.num_parameters()
    adapted = lora(bert, modules_to_save=kept)
    for task in ("rte", "copa"):
        adapted.zero_grad()
        adapted(task=task, **make_batch(task)).loss.backward()
        gradients = {name for name, p in adapted.named_parameters() if p.grad is not None and p.grad.abs().sum() > 0}
        assert any("lora_A" in name for name in gradients)
        assert any(f"tasks.{task}." in name and "modules_to_save" in name for name in gradients)
    copies = sum(p.numel() for name, p in adapted.named_parameters() if "modules_to_save" in name)
    assert copies < parameters / 10


@ignore_peft
def test_merged_adapters_export(bert, tmp_path):
    batch = make_batch("rte")
    before = bert(task="rte", **batch).logits
    adapted = lora(bert)
    expected = adapted.eval()(task="rte", **batch).logits
    assert not torch.allclose(expected, before)
    with pytest.raises(ValueError, match="merge them first"):
        adapted.base_model.model.export_task("rte", tmp_path)
    merged = adapted.merge_and_unload()
    merged.export_task("rte", tmp_path)
    from transformers import AutoModelForSequenceClassification

    native = AutoModelForSequenceClassification.from_pretrained(tmp_path)
    batch.pop("labels")
    torch.testing.assert_close(native(**batch).logits, expected, rtol=1e-4, atol=1e-5)


def train_on_different_tasks(folder):
    """Trains each rank on another task, and compares the ranks' parameters."""
    dist.init_process_group("gloo")
    torch.manual_seed(0)
    tasks = {name: {"kind": "sequence_classification", "labels": ["a", "b"]} for name in ("one", "two", "idle")}
    model = MultitaskModel.from_encoder(folder, tasks).train()
    checkpoint_activations(model)
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    torch.manual_seed(dist.get_rank())
    for step in range(3):
        task = ("one", "two")[(step + dist.get_rank()) % 2]
        ids, labels = torch.randint(5, 60, (4, 6)), torch.tensor([0, 1, 0, 1])
        wrapped(task=task, input_ids=ids, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    for name, parameter in model.named_parameters():
        gathered = [torch.empty_like(parameter) for _ in range(2)]
        dist.all_gather(gathered, parameter.detach())
        assert torch.equal(*gathered), name
    print("replicas agree", flush=True)


@pytest.mark.distributed
def test_ranks_with_different_tasks_stay_equal(bert_folder):
    run = fork(train_on_different_tasks, bert_folder, config="ddp", num_processes=2)
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("replicas agree") == 2
