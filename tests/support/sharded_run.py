"""A tiny BERT with three task heads: what DDP and FSDP2 must do alike."""

from pathlib import Path

import torch
from accelerate.utils import gather_object
from transformers import BertConfig

from hf_alphavil import MultitaskModel, MultitaskTrainingArguments
from hf_alphavil.distributed.fsdp import local_tensor
from hf_alphavil.modeling import MultitaskConfig
from hf_alphavil.run import loop_mixin
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


def bert_trainer(output_dir, compute_metrics=None, **settings):
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
    if settings.get("method", "alphavil") == "alphavil":
        defaults["alphavil_preset"] = "paper"
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
        compute_metrics=compute_metrics,
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


def checked_run(output_dir, metric="loss", frozen=(), looks=True):
    """
    Trains a model that FSDP2 shards, with something that the checks before training find, or nothing.

    Args:
        output_dir: Folder of the run.
        metric: What selects the best model, from the loss and a metric of the user's own, an accuracy.
        frozen: Prefixes of parameters that are not trained.
        looks: Whether each task's loss is looked at before training.

    Returns:
        Every rank's error, its steps and the sum of its shards.
    """
    settings = {"num_train_epochs": 1, "ddp_timeout": 20, "eval_strategy": "epoch", "metric_for_best_model": metric}
    trainer = bert_trainer(output_dir, lambda prediction: {"accuracy": 1.0}, **settings)
    for name, parameter in trainer.model.named_parameters():
        parameter.requires_grad_(not name.startswith(tuple(frozen)))
    look, error = loop_mixin.check_first_batches, None
    loop_mixin.check_first_batches = look if looks else lambda *args: None
    try:
        trainer.train()
    except ValueError as caught:
        error = str(caught)
    finally:
        loop_mixin.check_first_batches = look
    shards = sum(local_tensor(p).double().sum().item() for p in trainer.model.parameters())
    return gather_object([(error, trainer.state.global_step, shards)])
