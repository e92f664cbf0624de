"""Tasks whose loss cannot be computed, or trains nothing, are named before training."""

import pytest
import torch
from torch.utils.checkpoint import checkpoint
from torch.utils.data import Dataset
from transformers import BartConfig, T5Config, TrainerCallback

from hf_alphavil import MultitaskTrainer
from hf_alphavil.methods import METHODS
from hf_alphavil.modeling import MultitaskConfig, MultitaskModel
from hf_alphavil.run.reached_parameters import reached_parameters
from support.toy_run import TARGET, WithLengths, run_toy, toy_args, toy_data, toy_lengths, toy_model


class NoStep(TrainerCallback):
    def on_step_begin(self, args, state, control, **kwargs):
        pytest.fail("training started")


def trainer(tmp_path, model=None, train=None, **settings):
    data, meta = toy_data()
    return MultitaskTrainer(
        model=model or toy_model(),
        args=toy_args(tmp_path, **settings),
        train_dataset=data | (train or {}),
        eval_dataset={TARGET: meta},
        callbacks=[NoStep()],
    )


def frozen(*prefixes):
    model = toy_model()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(not name.startswith(prefixes))
    return model


@pytest.mark.parametrize("method", ["alphavil", "multitask", "pcgrad", "forkmerge", "tawt"])
def test_a_loss_that_reaches_no_trainable_parameter(method, tmp_path):
    model = frozen("encoder", "heads.b")
    with pytest.raises(ValueError, match="the loss of task 'b' reaches no trainable parameter"):
        trainer(tmp_path, model, method=method).train()


def test_gradients_that_end_at_the_inputs_do_not_count(tmp_path):
    """As with adapters and gradient checkpointing, where a hook makes the embeddings require gradients."""
    model = frozen("encoder", "heads.b")
    model.encoder[0].register_forward_hook(lambda module, inputs, output: output.requires_grad_(True))
    with pytest.raises(ValueError, match="the loss of task 'b' reaches no trainable parameter"):
        trainer(tmp_path, model).train()


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.min_epochs == 1])
def test_a_frozen_encoder(method, tmp_path, caplog):
    """Every method trains or refuses it in words. Where auxiliaries are trained in vain, a warning says so."""
    data, meta = toy_data()
    run = MultitaskTrainer(
        model=frozen("encoder"),
        args=toy_args(tmp_path, method=method, num_train_epochs=1, max_phase_steps=2),
        train_dataset=data,
        eval_dataset={TARGET: meta},
    )
    if method in ("gradnorm", "nashmtl"):
        with pytest.raises(ValueError, match=f"method '{method}' compares gradients of shared parameters, but no"):
            run.train()
        return
    run.train()
    assert ("shares no trainable parameter with 'b', 'c'" in caplog.text) == (method != "single")
    assert all(torch.isfinite(p).all() for p in run.model.parameters())


class Rows(Dataset):
    def __init__(self, rows, change):
        self.rows, self.change = rows, change

    def __len__(self):
        return len(self.rows)

    def __getitem__(self, i):
        return self.change(dict(self.rows[i]))


@pytest.mark.parametrize(
    "change",
    [
        lambda row: {"x": row["x"]},
        lambda row: row | {"x": row["x"][:3]},
        lambda row: row | {"labels": torch.tensor(7)},
        lambda row: {"inputs": row["x"], "labels": row["labels"]},
    ],
    ids=["no labels", "another width", "a class that the head lacks", "another column"],
)
def test_rows_that_the_model_cannot_read(change, tmp_path):
    train = {"b": Rows(toy_data()[0]["b"], change)}
    with pytest.raises(ValueError, match="the loss of the first rows of task 'b' cannot be computed: "):
        trainer(tmp_path, train=train).train()


def test_a_meta_set_that_the_model_cannot_read(tmp_path):
    data, meta = toy_data()
    run = MultitaskTrainer(
        model=toy_model(),
        args=toy_args(tmp_path),
        train_dataset=data,
        eval_dataset={TARGET: Rows(meta, lambda row: row | {"x": row["x"][:3]})},
        callbacks=[NoStep()],
    )
    with pytest.raises(ValueError, match="first rows of the meta set of the target 'a' cannot be computed"):
        run.train()


def test_a_whole_batch_is_made_and_two_rows_of_it_are_trained_on_trial(tmp_path, monkeypatch):
    sizes, made = [], []
    monkeypatch.setattr(NoStep, "on_step_begin", lambda *args, **kwargs: sizes.append("training"))
    run = trainer(tmp_path, max_steps=1)
    run.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["labels"])), with_kwargs=True
    )
    collate = run.data_collator.collators["a"]
    run.data_collator.collators["a"] = lambda rows: made.append(len(rows)) or collate(rows)
    run.train()
    assert sizes[: sizes.index("training")] == [2, 2, 2, 2]
    assert made[:2] == [8, 2]


def test_the_shortest_rows_are_trained_on_trial(tmp_path):
    data, _ = toy_data()
    train = {task: WithLengths(rows, toy_lengths(data)[task]) for task, rows in data.items()}
    run = trainer(tmp_path, train=train, max_steps=1, length_grouping="on")
    run.model.register_forward_pre_hook(lambda *args: pytest.fail("no loss"), with_kwargs=True)
    seen = []
    for task, collate in run.data_collator.collators.items():
        run.data_collator.collators[task] = lambda rows, task=task, collate=collate: (
            seen.append((task, [tuple(row["x"].tolist()) for row in rows])) or collate(rows)
        )
    with pytest.raises(pytest.fail.Exception, match="no loss"):
        run.train()
    (task, batch), (_, short) = seen
    lengths = run.task_setup.lengths.of(run.train_datasets[task])[: len(batch)]
    shortest = sorted(range(len(batch)), key=lambda row: -lengths[row])[-2:]
    assert short == [batch[row] for row in shortest]


class NoGradient(torch.autograd.Function):
    @staticmethod
    def forward(context, x):
        return x.clone()

    @staticmethod
    def backward(context, gradient):
        return None


def reached_by(loss, parameters):
    gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
    return {number for number, gradient in enumerate(gradients) if gradient is not None}


@pytest.mark.parametrize("known", [(), (0, 1), (2, 3), (0, 1, 2, 3)])
@pytest.mark.parametrize(
    "stop",
    [lambda x: x, torch.detach, NoGradient.apply, lambda x: checkpoint(torch.sin, x, use_reentrant=False)],
    ids=["nothing", "detached", "no gradient", "checkpointed"],
)
def test_reached_parameters_are_those_with_a_gradient(stop, known):
    encoder, head = torch.nn.Linear(3, 3), torch.nn.Linear(3, 1)
    parameters = [*encoder.parameters(), *head.parameters(), torch.nn.Parameter(torch.ones(2))]

    def loss():
        return head(stop(encoder(torch.ones(2, 3)))).sum()

    assert reached_parameters(loss(), parameters, known) == reached_by(loss, parameters)


def test_known_parameters_get_no_gradient_again():
    """Only the farthest one, so that the backward pass goes through the whole graph."""
    encoder, head = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)), torch.nn.Linear(3, 1)
    parameters, given = [*encoder.parameters(), *head.parameters()], []
    for number, parameter in enumerate(parameters):
        parameter.register_hook(lambda gradient, number=number: given.append(number))
    loss = head(encoder(torch.ones(2, 3))).sum()
    assert reached_parameters(loss, parameters, range(4)) == set(range(6))
    assert {4, 5} < set(given)
    assert len(set(given) & {0, 1}) == 1
    assert len(set(given)) == 3


def test_looking_changes_nothing(tmp_path, monkeypatch):
    """Neither random states nor batch norm nor gradients."""
    looked = run_toy(tmp_path / "1", noisy=True, num_train_epochs=1)
    monkeypatch.setattr("hf_alphavil.run.loop_mixin.check_first_batches", lambda *args: None)
    without = run_toy(tmp_path / "2", noisy=True, num_train_epochs=1)
    assert looked["history"] == without["history"]
    assert all(torch.equal(tensor, without["state"][name]) for name, tensor in looked["state"].items())
    assert torch.equal(looked["torch_rng"], without["torch_rng"])


# ---- Encoder-decoders

SMALL = {"vocab_size": 60, "d_model": 16}
BART = SMALL | {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
BART |= {"encoder_ffn_dim": 16, "decoder_ffn_dim": 16, "max_position_embeddings": 40}
T5 = SMALL | {"d_kv": 8, "d_ff": 16, "num_layers": 1, "num_heads": 2}
TASK = {"kind": "sequence_classification", "labels": ["x", "y"]}


def token_rows(number=20):
    ids = [[5 + i % 7, 6, 7, 1] for i in range(number)]
    return [{"input_ids": row, "attention_mask": [1] * 4, "labels": i % 2} for i, row in enumerate(ids)]


def encoder_decoder_trainer(tmp_path, config):
    model = MultitaskModel(MultitaskConfig(encoder=config, tasks={"a": TASK, "b": TASK}))
    args = toy_args(tmp_path, num_train_epochs=1, max_phase_steps=1)
    data = {"a": token_rows(), "b": token_rows()}
    return MultitaskTrainer(model=model, args=args, train_dataset=data, eval_dataset={"a": token_rows()})


@pytest.mark.parametrize(
    ("config", "missing"),
    [
        (BartConfig(**BART, eos_token_id=1, pad_token_id=None), "pad_token_id"),
        (BartConfig(**BART, eos_token_id=1, decoder_start_token_id=None), "decoder_start_token_id"),
        (T5Config(**T5), "decoder_start_token_id"),
        (T5Config(**T5, eos_token_id=None), "eos_token_id, decoder_start_token_id"),
    ],
    ids=["bart pad", "bart start", "t5 start", "t5 both"],
)
def test_an_encoder_decoder_without_its_tokens_is_refused(config, missing, tmp_path):
    with pytest.raises(ValueError, match=f"has a decoder too, whose inputs need {missing}: set"):
        encoder_decoder_trainer(tmp_path, config)


@pytest.mark.parametrize(
    "config", [BartConfig(**BART, eos_token_id=1), T5Config(**T5, decoder_start_token_id=0)], ids=["bart", "t5"]
)
def test_a_whole_encoder_decoder_trains(config, tmp_path):
    run = encoder_decoder_trainer(tmp_path, config)
    run.train()
    assert len(run.history) == 1
