"""A tiny BERT with three task heads: what DDP and FSDP2 must do alike."""

from pathlib import Path

import torch
from transformers import BertConfig

from hf_alphavil import MultitaskModel, MultitaskTrainingArguments
from hf_alphavil.modeling import MultitaskConfig
from support.toy_run import RecordingTrainer, whole

ROWS = {"rte": 21, "sts-b": 16, "copa": 9}
HEADS = {
    "rte": {"kind": "sequence_classification", "labels": ["entailment", "not_entailment"]},
    "sts-b": {"kind": "regression", "labels": None},
    "copa": {"kind": "multiple_choice", "labels": ["choice1", "choice2"]},
}


def rows(task, number, seed):
    """Tokenised rows of random words. The label depends on the id of the first word."""
    generator = torch.Generator().manual_seed(seed)
    shape = (2, 8) if task == "copa" else (8,)
    made = []
    for _ in range(number):
        ids = torch.randint(5, 60, shape, generator=generator)
        first = ids[..., 0].float()
        label = first.argmax() if task == "copa" else (first / 60 if task == "sts-b" else (first > 32).long())
        row = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": label}
        made.append({name: value.tolist() for name, value in row.items()})
    return made


def bert_trainer(output_dir, **settings):
    """A trainer of `rte` with the help of the other two; the model's initial weights are always the same."""
    defaults = {
        "target_task": "rte",
        "use_cpu": True,
        "num_train_epochs": 2,
        "learning_rate": 0.003,
        "weight_decay": 0.1,
        "max_grad_norm": 1.0,
        "per_device_train_batch_size": 4,
        "alpha_data": "validation",
        "alpha_batch_size": 5,
        "alpha_steps": 4,
        "report_to": [],
        "save_strategy": "no",
        "logging_strategy": "no",
        "disable_tqdm": True,
    }
    args = MultitaskTrainingArguments(output_dir=str(output_dir), **(defaults | settings))
    torch.manual_seed(0)
    encoder = BertConfig(
        vocab_size=60,
        max_position_embeddings=40,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=24,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    return RecordingTrainer(
        model=MultitaskModel(MultitaskConfig(encoder=encoder, tasks=HEADS)),
        args=args,
        train_dataset={task: rows(task, number, seed=1) for task, number in ROWS.items()},
        eval_dataset={"rte": rows("rte", 16, seed=2)},
    )


def run_bert(output_dir, **settings):
    """Trains (see `bert_trainer`), evaluates, saves the model and exports the target; returns what is compared."""
    trainer = bert_trainer(output_dir, **settings)
    trainer.train()
    eval_loss = trainer.evaluate()["eval_rte_loss"]
    trainer.save_model()
    trainer.export_task("rte", Path(output_dir) / "export")
    return {
        "history": trainer.history,
        "epochs": trainer.epochs,
        "gradient_unit": trainer.runner.method.alpha_optimizer.gradient_unit,
        "eval_loss": eval_loss,
        "state": {name: whole(tensor) for name, tensor in trainer.model.state_dict().items()},
        "sharded": sorted(
            name for name, module in trainer.model.named_modules() if type(module).__name__.startswith("FSDP")
        ),
    }
