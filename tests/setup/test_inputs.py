"""Lengths and token ids that an encoder cannot read are cut, or refused before training."""

import pytest
import torch
from datasets import Dataset
from torch.utils.data import Subset
from transformers import AutoModel, AutoTokenizer, BartConfig, BertConfig, GPT2Config, OPTConfig, pipeline

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task
from hf_alphavil.modeling.limits import max_positions, num_token_embeddings
from hf_alphavil.modeling.lora import LoraArguments, add_lora
from hf_alphavil.tasks import DataError
from support.kinds_run import SPECIAL, WORDS, every_kind, word_tokenizer
from support.modeling_helpers import ENCODERS
from support.toy_run import toy_args

# PEFT itself imports a deprecated name.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")

POSITIONS = 12
TASKS = every_kind()
LONG = " ".join(WORDS * 5)
SMALL = {"num_attention_heads": 2, "num_hidden_layers": 1, "hidden_size": 16, "intermediate_size": 16}


def model_of(*names):
    torch.manual_seed(0)
    config = BertConfig(vocab_size=len(SPECIAL) + len(WORDS), max_position_embeddings=POSITIONS, **SMALL)
    return MultitaskModel(MultitaskConfig(encoder=config, tasks={name: TASKS[name] for name in names}))


def trainer_of(folder, model, *tasks, tokenizer=None, **settings):
    settings = {"num_train_epochs": 1, "alpha_data": "train"} | settings
    return MultitaskTrainer(
        model=model,
        args=toy_args(folder, target_task=tasks[0].name, **settings),
        tasks={task.name: task for task in tasks},
        processing_class=tokenizer or word_tokenizer(),
    )


def with_long_texts(name):
    column = {"names": "words"}.get(name, "text")

    def longer(row):
        return {column: LONG} | ({"label": [0] * len(LONG.split())} if name == "names" else {})

    task = TASKS[name]
    return Task.from_spec(task.spec, train=task.train.map(longer), validation=task.validation.map(longer))


MORE = {
    "bart": lambda: BartConfig(
        vocab_size=60, d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
        decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, max_position_embeddings=40,
    ),
    "gpt2": lambda: GPT2Config(
        vocab_size=60, n_embd=16, n_layer=1, n_head=2, n_positions=40, bos_token_id=0, eos_token_id=0
    ),
    "opt": lambda: OPTConfig(
        vocab_size=60, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, ffn_dim=16,
        max_position_embeddings=40, word_embed_proj_dim=16,
    ),
}  # fmt: skip


@pytest.mark.parametrize("architecture", [*ENCODERS, *MORE])
def test_limits_are_those_at_which_an_encoder_fails(architecture):
    encoder = AutoModel.from_config((ENCODERS | MORE)[architecture]()).eval()
    limit = max_positions(encoder)
    assert (limit is None) == (architecture in ("deberta-v2", "modernbert", "qwen2", "llama"))
    assert num_token_embeddings(encoder) == 60
    longest = limit or 100
    encoder(input_ids=torch.full((1, longest), 7))
    if limit is not None:
        with pytest.raises((IndexError, RuntimeError)):
            encoder(input_ids=torch.full((1, longest + 1), 7))


@pytest.mark.parametrize("name", ["pair", "names", "quiz", "prose"])
@pytest.mark.parametrize("max_length", [None, 13, 128])
def test_long_texts_are_cut_to_the_positions_of_the_encoder(name, max_length, tmp_path, caplog):
    trainer = trainer_of(tmp_path, model_of(name), with_long_texts(name), max_length=max_length)
    said = f"max_length={max_length} is more than the {POSITIONS} positions of the encoder"
    assert (said in caplog.text) == (max_length is not None)
    trainer.train()
    trainer.evaluate()
    assert trainer.args.max_length == POSITIONS


def test_a_shorter_length_stays(tmp_path, caplog):
    trainer = trainer_of(tmp_path, add_lora(model_of("pair"), LoraArguments()), TASKS["pair"], max_length=POSITIONS)
    assert trainer.args.max_length == POSITIONS
    assert "positions" not in caplog.text
    assert "no effect" not in caplog.text


def test_a_model_that_is_made_later(tmp_path):
    with pytest.raises(
        ValueError, match=r"task 'pair' has \d+ tokens, and the encoder has 12 positions: .*max_length=12"
    ):
        MultitaskTrainer(
            model_init=lambda: model_of("pair"),
            args=toy_args(tmp_path, target_task="pair", alpha_data="train"),
            tasks={"pair": with_long_texts("pair")},
            processing_class=word_tokenizer(),
        )


def test_pipelines_of_an_export_cut_long_texts(tmp_path):
    tokenizer = word_tokenizer()
    trainer = trainer_of(tmp_path, model_of("pair", "names"), TASKS["pair"], TASKS["names"], tokenizer=tokenizer)
    for name in ("pair", "names"):
        trainer.export_task(name, tmp_path / name)
        assert AutoTokenizer.from_pretrained(tmp_path / name).model_max_length == POSITIONS
    assert tokenizer.model_max_length > POSITIONS
    classify = pipeline("text-classification", model=str(tmp_path / "pair"), device="cpu", truncation=True)
    assert classify(LONG)[0]["label"] in ("a", "b")
    assert pipeline("token-classification", model=str(tmp_path / "names"), device="cpu")(LONG) is not None


@pytest.mark.parametrize(("name", "least"), [("score", 3), ("names", 3), ("other", 5), ("quiz", 5)])
def test_a_length_without_room_for_a_text_is_refused(name, least, tmp_path):
    task, tokenizer = TASKS[name], word_tokenizer()
    for length in range(1, least):
        with pytest.raises(DataError, match=rf"max_length={length} leaves no room .* Pass {least} or more"):
            task.tokenize("validation", tokenizer, length)
    tokenized = task.tokenize("validation", tokenizer, least)["input_ids"]
    lengths = {len(row) for ids in tokenized for row in (ids if isinstance(ids[0], list) else [ids])}
    assert max(lengths) == least
    tokenizer.model_max_length = 1
    with pytest.raises(DataError, match="the tokenizer's model_max_length=1 leaves no room"):
        task.tokenize("validation", tokenizer)


# ---- Token ids


def with_new_word(name):
    tokenizer = word_tokenizer()
    tokenizer.add_tokens(["new"])
    task = TASKS[name]
    return tokenizer, Task.from_spec(
        task.spec, train=task.train.map(lambda row: {"text": row["text"] + " new"}), validation=task.validation
    )


def test_a_token_without_an_embedding_is_refused(tmp_path):
    tokenizer, task = with_new_word("score")
    message = (
        r"task 'score' has the token id 25, and the encoder has embeddings of 25 tokens: .*resize_token_embeddings"
    )
    with pytest.raises(ValueError, match=message):
        trainer_of(tmp_path, model_of("score"), task, tokenizer=tokenizer)
    model = model_of("score")
    model.resize_token_embeddings(len(tokenizer))
    trainer_of(tmp_path, model, task, tokenizer=tokenizer).train()


def test_a_larger_tokenizer_whose_other_tokens_no_row_has(tmp_path, caplog):
    tokenizer, _ = with_new_word("score")
    trainer_of(tmp_path, model_of("score"), TASKS["score"], tokenizer=tokenizer).train()
    assert "the tokenizer has 26 tokens, and the encoder has embeddings of 25" in caplog.text
    with pytest.raises(ValueError, match="the tokenizer has 26 tokens, and the encoder has embeddings of 25"):
        trainer_of(tmp_path, model_of("score", "prose"), TASKS["score"], TASKS["prose"], tokenizer=tokenizer)


def test_a_padding_token_without_an_embedding_is_refused(tmp_path):
    tokenizer = word_tokenizer()
    tokenizer.add_special_tokens({"pad_token": "<new pad>"})
    with pytest.raises(ValueError, match="the tokenizer has 26 tokens, and the encoder has embeddings of 25"):
        trainer_of(tmp_path, model_of("score"), TASKS["score"], tokenizer=tokenizer)


@pytest.mark.parametrize(
    "wrap", [lambda rows: rows, lambda rows: Subset(rows, range(1, 20)), lambda rows: rows.shuffle(0)]
)
@pytest.mark.parametrize(("ids", "message"), [([5] * 13, "has 13 tokens"), ([25], "has the token id 25")])
def test_rows_that_a_user_tokenised(wrap, ids, message, tmp_path):
    rows = Dataset.from_dict({"input_ids": [[6, 7]] * 19 + [ids], "labels": [0.5] * 20})
    args = toy_args(tmp_path, target_task="score", alpha_data="train")
    with pytest.raises(ValueError, match=rf"training row \d+ of task 'score' {message}"):
        MultitaskTrainer(model=model_of("score"), args=args, train_dataset={"score": wrap(rows)})
