"""Bad input is refused before training with one clear error that says what to pass instead."""

import json
import re
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import IterableDataset, Subset
from transformers import SchedulerType

from hf_alphavil import MultitaskTrainer, load_tasks
from hf_alphavil.distributed.refusals import check_setup
from hf_alphavil.tasks import DataError
from support.driving import refused_by_driver
from support.toy_run import LABELS, TARGET, toy_args, toy_data, toy_model


class NeverTrained(torch.nn.Module):
    """Fails the test if any step is taken."""

    def __init__(self):
        super().__init__()
        self.encoder = torch.nn.Linear(6, 2)

    def forward(self, task, x=None, labels=None):
        if self.training:
            pytest.fail("training started")
        logits = self.encoder(x)
        return {"loss": logits.mean(), "logits": logits}


def trainer(tmp_path, model=None, train=None, **settings):
    data, meta = toy_data()
    return MultitaskTrainer(
        model=model or NeverTrained().double(),
        args=toy_args(tmp_path, **settings),
        train_dataset=data if train is None else train,
        eval_dataset={TARGET: meta},
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "dynamics"}, "unknown method 'dynamics': pass 'probed_mixture', as it is called now"),
        ({"method": "alphaville"}, "unknown method 'alphaville': pass one of alphavil, multitask, single"),
        ({"target_task": "rte"}, "target_task='rte' has no dataset; there are datasets of a, b, c"),
        ({"target_task": ""}, r"there are several tasks: pass one of them as `target_task` \(a, b, c\)"),
        ({"delta_fraction": 0.0}, r"delta_fraction=0.0: pass a share in \(0, 1\]"),
        ({"joint_fraction": 1.0}, "joint_fraction=1.0: pass a share in"),
        ({"alpha_init": "0"}, "alpha_init='0': pass a number above 0, or 'mean'"),
        ({"alpha_init": "half"}, "alpha_init='half'"),
        ({"alpha_optimizer": "newton"}, "alpha_optimizer='newton': pass one of auto, sgd, adam"),
        ({"delta_device": "cuda"}, "delta_device='cuda': pass one of device, cpu"),
        ({"delta_dtype": "float16"}, "delta_dtype='float16': pass one of float32, bfloat16"),
        ({"weight_applies_to": "both"}, "weight_applies_to='both'"),
        ({"min_task_weight": -0.5}, "min_task_weight=-0.5"),
        ({"max_task_weight": 0.5}, "max_task_weight=0.5"),
        ({"task_sampling": "random"}, "task_sampling='random'"),
        ({"ignore_data_skip": True}, "ignore_data_skip"),
        ({"accelerator_config": {"split_batches": True}}, "split_batches"),
        ({"accelerator_config": {"dispatch_batches": True}}, "dispatch_batches"),
        (
            {"alpha_data": "train_holdout", "alpha_holdout_fraction": 0.99},
            "of the target's 37 training rows, or leave none to train on .* change `alpha_holdout_fraction`",
        ),
    ],
)
def test_settings(settings, message, tmp_path):
    with pytest.raises(ValueError, match=message):
        trainer(tmp_path, **settings)


def test_no_validation_set_for_alpha(tmp_path):
    train, _ = toy_data()
    with pytest.raises(ValueError, match="there is no validation set of the target 'a'"):
        MultitaskTrainer(model=NeverTrained(), args=toy_args(tmp_path), train_dataset=train)


def test_auxiliary_without_rows(tmp_path):
    train, _ = toy_data()
    with pytest.raises(ValueError, match="task 'b' has no training rows"):
        trainer(tmp_path, train=train | {"b": Subset(train["b"], [])})


def test_iterable_dataset_as_one_of_several(tmp_path):
    class Stream(IterableDataset):
        def __iter__(self):
            yield from ()

    train, _ = toy_data()
    with pytest.raises(TypeError, match=r"training set of task 'b' is a Stream; .* pass a map-style dataset"):
        trainer(tmp_path, train=train | {"b": Stream()})


def test_half_precision_parameters(tmp_path):
    with pytest.raises(ValueError, match=r"encoder.weight is torch.bfloat16.*dtype=torch.float32"):
        trainer(tmp_path, model=NeverTrained().bfloat16())


def test_frozen_model(tmp_path):
    with pytest.raises(ValueError, match="no trainable parameters"):
        trainer(tmp_path, model=NeverTrained().requires_grad_(False))


def test_plain_arguments_with_several_tasks(tmp_path):
    from transformers import TrainingArguments

    train, _ = toy_data()
    with pytest.raises(TypeError, match="MultitaskTrainingArguments: pass them instead of TrainingArguments"):
        MultitaskTrainer(model=NeverTrained(), args=TrainingArguments(str(tmp_path)), train_dataset=train)


def test_data_parallel_and_deepspeed(tmp_path, monkeypatch):
    """Launches that this machine cannot make, checked with substitutes for their arguments."""
    args = toy_args(tmp_path)

    def with_changes(**changes):
        names = ("deepspeed", "world_size", "n_gpu", "accelerator_config", "ignore_data_skip")
        return SimpleNamespace(**{name: getattr(args, name) for name in names} | changes)

    check_setup(with_changes())
    with pytest.raises(ValueError, match=r"would use nn.DataParallel.*accelerate launch"):
        check_setup(with_changes(n_gpu=2))
    with pytest.raises(ValueError, match=r"DeepSpeed is not supported.*DDP"):
        check_setup(with_changes(deepspeed="zero3.json"))
    monkeypatch.setenv("WORLD_SIZE", "2")
    check_setup(with_changes())
    monkeypatch.setenv("LOCAL_RANK", "0")
    with pytest.raises(ValueError, match=r"2 processes were launched.*--use_cpu"):
        check_setup(with_changes())


def test_deepspeed_by_the_launcher(tmp_path, monkeypatch):
    """`accelerate launch --use_deepspeed` is refused before accelerate asks the user to install the package."""
    monkeypatch.setenv("ACCELERATE_USE_DEEPSPEED", "true")
    with pytest.raises(ValueError, match=r"DeepSpeed is not supported.*configs/ddp.yaml"):
        toy_args(tmp_path)


def test_schedule_driven_by_a_metric(tmp_path):
    wrong = trainer(
        tmp_path,
        lr_scheduler_type=SchedulerType.REDUCE_ON_PLATEAU,
        eval_strategy="epoch",
        load_best_model_at_end=False,
    )
    with pytest.raises(
        ValueError, match=r"ReduceLROnPlateau.*pass an `lr_scheduler_type` that is a function of the step"
    ):
        wrong.train()


def test_optimizer_whose_state_cannot_be_swapped(tmp_path):
    with pytest.raises(ValueError, match=r"Adagrad.*optim='adamw_torch'"):
        trainer(tmp_path, optim="adagrad").train()


def test_alpha_of_the_encoder_in_a_model_without_one(tmp_path):
    class Flat(NeverTrained):
        def __init__(self):
            super().__init__()
            self.body = self.encoder
            del self.encoder

    with pytest.raises(ValueError, match="alpha_applies_to='encoder' needs a model whose shared part"):
        trainer(tmp_path, model=Flat().double(), alpha_applies_to="encoder").train()


def test_unknown_task_to_evaluate(tmp_path):
    with pytest.raises(ValueError, match="unknown task 'mrpc': the tasks are a, b, c"):
        trainer(tmp_path).evaluate("mrpc")


def test_checkpoint_of_another_run(tmp_path):
    train, meta = toy_data()

    def toy(folder, **settings):
        args = toy_args(tmp_path / folder, num_train_epochs=1, **settings)
        return MultitaskTrainer(model=toy_model(), args=args, train_dataset=train, eval_dataset={TARGET: meta})

    toy("one", save_strategy="steps", save_steps=3).train()
    checkpoint = str(tmp_path / "one" / "checkpoint-3")
    with pytest.raises(ValueError, match="written with global_batch_size=8, this run has 4"):
        toy("two", per_device_train_batch_size=4).train(resume_from_checkpoint=checkpoint)
    toy("three", save_strategy="steps", save_steps=3, save_only_model=True).train()
    with pytest.raises(ValueError, match=r"holds no multitask_state.json.*Resume from another checkpoint"):
        toy("four").train(resume_from_checkpoint=str(tmp_path / "three" / "checkpoint-3"))


# ---- Files, through the loader and the driver


def test_unknown_task_name(data_dir):
    with pytest.raises(ValueError, match="rtee"):
        load_tasks(["rtee"], data_dir=data_dir)


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match=r"RTE|rte"):
        load_tasks(["rte"], data_dir=tmp_path)


RTE_HEADER = "index\tsentence1\tsentence2\tlabel\n"
RTE_ROW = "{}\tIt rains a lot.\tIt rains.\t{}\n"


def write_rte(folder, train):
    folder = folder / "RTE"
    folder.mkdir(parents=True)
    (folder / "train.tsv").write_text(train, encoding="utf-8")
    dev = RTE_HEADER + "".join(RTE_ROW.format(i, "entailment") for i in range(4))
    (folder / "dev.tsv").write_text(dev, encoding="utf-8")
    (folder / "test.tsv").write_text("index\tsentence1\tsentence2\n0\tIt rains.\tIt is wet.\n", encoding="utf-8")


@pytest.mark.parametrize(
    ("train", "message"),
    [
        ("", r"train\.tsv"),
        (RTE_HEADER, r"train\.tsv"),
        (RTE_HEADER + RTE_ROW.format(0, "entailment") + RTE_ROW.format(1, "maybe"), r"train\.tsv.*3.*maybe"),
        ("index\tsentence1\tlabel\n0\tIt rains.\tentailment\n", r"train\.tsv.*sentence2"),
    ],
    ids=["empty", "no rows", "unknown label", "missing column"],
)
def test_bad_file_through_the_driver(train, message, tmp_path):
    """On the command line, too, the error comes before training and names the file."""
    write_rte(tmp_path / "data", train)
    arguments = ["--target", "rte", "--auxiliary", "none", "--recipe", "none", "--data_dir", tmp_path / "data"]
    said = refused_by_driver([*arguments, "--output_dir", tmp_path / "out", "--use_cpu", "true"], tmp_path)
    last_lines = said.strip().splitlines()[-3:]
    assert re.search(message, " ".join(last_lines)), said[-2000:]
    assert not (tmp_path / "out" / "all_results.json").exists()


def test_heads_that_the_model_lacks(tmp_path):
    from transformers import BertConfig, BertModel

    from hf_alphavil import MultitaskModel

    config = BertConfig(vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8)
    BertModel(config).save_pretrained(tmp_path / "bert")
    heads = {name: {"kind": "sequence_classification", "labels": ["x", "y"]} for name in list(LABELS)[:2]}
    model = MultitaskModel.from_encoder(tmp_path / "bert", tasks=heads)
    with pytest.raises(ValueError, match="the model has no head for c, only for a, b"):
        trainer(tmp_path, model=model)


def test_config_file_of_the_driver(tmp_path):
    """A YAML or JSON file replaces the flags; the error names an unknown key."""
    (tmp_path / "run.json").write_text(json.dumps({"target": "rte", "methodd": "single"}), encoding="utf-8")
    assert "methodd" in refused_by_driver([tmp_path / "run.json"], tmp_path)
