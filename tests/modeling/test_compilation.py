"""`torch_compile` compiles the encoder once for all tasks and changes nothing else."""

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoModelForSequenceClassification, TrainerCallback

from hf_alphavil import MultitaskConfig, MultitaskModel
from support.bert_run import HEADS, TARGET, adapted, bert_data, bert_model, bert_trainer, toy_args
from support.toy_run import TARGET as TOY_TARGET
from support.toy_run import RecordingTrainer, toy_data, toy_model

# The backend "eager" runs the traced graph unchanged: results are equal bit for bit, and no C++ compiler is needed.
COMPILE = {"torch_compile": True, "torch_compile_backend": "eager"}
SGD = {"learning_rate": 0.05, "optim_args": "momentum=0.9"}


CHOICE = {"kind": "multiple_choice", "labels": ["x", "y"]}


def shortened(row, number):
    """A row of 2 to 6 tokens."""
    return {"input_ids": row["input_ids"][: 2 + number // 2 % 5], "labels": row["labels"]}


def padded(rows):
    """A batch as long as its longest row."""
    ids = [torch.tensor(choice) for row in rows for choice in as_choices(row["input_ids"])]
    ids = nn.utils.rnn.pad_sequence(ids, batch_first=True)
    labels = torch.tensor([row["labels"] for row in rows])
    return {"input_ids": ids if len(ids) == len(rows) else ids.view(len(rows), 2, -1), "labels": labels}


def as_choices(ids):
    return ids if isinstance(ids[0], list) else [ids]


@pytest.fixture(autouse=True)
def graphs():
    """Returns a function that counts the graphs compiled since the test began."""
    torch._dynamo.reset()
    torch._dynamo.utils.counters.clear()
    yield lambda: torch._dynamo.utils.counters["stats"]["unique_graphs"]
    torch._dynamo.reset()


def test_a_compiled_run_is_the_same_run(graphs, tmp_path):
    settings = {"save_strategy": "steps", "save_steps": 4, "alpha_batch_size": 8, **SGD}
    plain = bert_trainer(tmp_path / "plain", **settings)
    plain.train()
    assert graphs() == 0
    compiled = bert_trainer(tmp_path / "compiled", **settings, **COMPILE)
    compiled.train()
    assert graphs() == 1  # training; the α step is not compiled
    assert compiled.history == plain.history
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, compiled.model.state_dict()[name]), name

    # Checkpoints are the same, and either run resumes from those of the other.
    mine, theirs = (load_file(tmp_path / run / "checkpoint-4" / "model.safetensors") for run in ("compiled", "plain"))
    assert mine.keys() == theirs.keys()
    resumed = bert_trainer(tmp_path / "resumed", **settings | {"save_strategy": "no"}, **COMPILE)
    resumed.train(resume_from_checkpoint=str(tmp_path / "compiled" / "checkpoint-4"))
    for name, tensor in plain.model.state_dict().items():
        assert torch.equal(tensor, resumed.model.state_dict()[name]), name

    compiled.model.export_task(TARGET, tmp_path / "export")
    native = AutoModelForSequenceClassification.from_pretrained(tmp_path / "export")
    assert torch.equal(native.classifier.weight, plain.model.tasks[TARGET].classifier.weight)


@pytest.mark.slow
def test_many_tasks_share_the_graphs(graphs, tmp_path):
    """torch silently stops compiling after eight graphs of one function. Twelve heads must not need one each."""
    heads = {f"t{number}": HEADS["a"] for number in range(12)}
    model = MultitaskModel(MultitaskConfig(encoder=bert_model().config.encoder, tasks=heads))
    rows = bert_data()[0]["a"][:4]
    args = toy_args(tmp_path, target_task="t0", num_train_epochs=1, per_device_train_batch_size=4, **COMPILE)
    trainer = RecordingTrainer(
        model=model, args=args, train_dataset=dict.fromkeys(heads, rows), eval_dataset={"t0": rows}
    )
    trainer.train()
    trainer.evaluate()
    assert len(trainer.epochs[0]["delta"]) == 12
    assert graphs() == 2  # training and evaluation


class Graphs(TrainerCallback):
    """The graphs at the beginning of every epoch."""

    def __init__(self, graphs):
        self.graphs = graphs
        self.counts = []

    def on_epoch_begin(self, args, state, control, **kwargs):
        self.counts.append(self.graphs())


def in_half_precision():
    return adapted(one_layer().bfloat16())


def one_layer():
    config = bert_model().config.encoder
    config.num_hidden_layers = 1
    return MultitaskModel(MultitaskConfig(encoder=config, tasks=HEADS | {"d": CHOICE}))


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
@pytest.mark.slow
@pytest.mark.parametrize("make", [one_layer, in_half_precision])
def test_batches_of_all_lengths_share_a_dynamic_graph(make, graphs, tmp_path):
    """The first length has a graph of its own, the second one a dynamic graph, and so has a new number of rows."""
    train = {task: [shortened(row, number) for number, row in enumerate(bert_data()[0]["a"])] for task in HEADS}
    train["b"] = [row | {"labels": float(row["labels"])} for row in train["b"]]
    pairs = zip(train["a"][::2], train["a"][1::2], strict=True)
    train["d"] = [{"input_ids": [one["input_ids"], two["input_ids"]], "labels": 0} for one, two in pairs]
    settings = {"num_train_epochs": 2, "per_device_train_batch_size": 2, "length_grouping": "on", **SGD, **COMPILE}
    trainer = RecordingTrainer(
        model=make(), args=toy_args(tmp_path, **settings), train_dataset=train,
        eval_dataset={TARGET: bert_data()[1]}, data_collator=padded, callbacks=[watch := Graphs(graphs)],
    )  # fmt: skip
    trainer.train()
    assert len(trainer.epochs) == 2
    assert watch.counts == [0, graphs()]  # none in the second epoch
    assert graphs() <= 3
    assert not torch._dynamo.utils.counters["graph_break"]


@pytest.mark.slow
def test_evaluation_alone_is_compiled_too(graphs, tmp_path):
    trainer = bert_trainer(tmp_path, **COMPILE)
    loss = trainer.evaluate()[f"eval_{TARGET}_loss"]
    assert graphs() > 0
    assert loss == bert_trainer(tmp_path).evaluate()[f"eval_{TARGET}_loss"]


class Whole(nn.Module):
    """A module without an attribute `encoder`."""

    def __init__(self):
        super().__init__()
        self.inner = toy_model()

    def forward(self, task, x=None, labels=None):
        return self.inner(task, x, labels)


def test_a_model_without_an_encoder_is_compiled_whole(graphs, tmp_path):
    train, meta = toy_data()
    states = []
    for settings in ({}, COMPILE):
        args = toy_args(tmp_path, num_train_epochs=1, save_strategy="epoch", **settings)
        trainer = RecordingTrainer(model=Whole(), args=args, train_dataset=train, eval_dataset={TOY_TARGET: meta})
        trainer.train()
        states.append(load_file(f"{tmp_path}/checkpoint-{trainer.state.max_steps}/model.safetensors"))
    assert graphs() > 0
    assert states[0].keys() == states[1].keys()
    for name, tensor in states[0].items():
        torch.testing.assert_close(states[1][name], tensor, rtol=0, atol=1e-9)
