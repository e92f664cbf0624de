"""Runs of a tiny BERT with a task of every kind."""

import copy
import random
from functools import cache

import torch
from datasets import Dataset
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, PreTrainedTokenizerFast

from hf_alphavil import MultitaskConfig, MultitaskModel, MultitaskTrainer, Task
from support.toy_run import toy_args

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
WORDS = [f"w{number}" for number in range(20)]


def word_tokenizer():
    """Words between spaces, each a token."""
    vocabulary = {word: number for number, word in enumerate([*SPECIAL, *WORDS])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    names = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
    return PreTrainedTokenizerFast(tokenizer_object=backend, **names)


def every_kind():
    """A task of every kind with 24 training and 8 validation rows of random words; and one without a head."""
    return dict(made_once())


@cache
def made_once():
    draw = random.Random(0)

    def text(low=2, high=8):
        return " ".join(draw.choices(WORDS, k=draw.randint(low, high)))

    def sentence(texts):
        return {"text": texts, "other": text(), "label": draw.randrange(2)}

    def make(rows):
        return {
            name: Dataset.from_list([rows(text()) for _ in range(count)])
            for name, count in {"train": 24, "validation": 8, "test": 5}.items()
        }

    def words(texts):
        return {"words": texts, "label": [draw.randrange(3) for _ in texts.split()]}

    def choices(texts):
        listed = [text(1, 3) for _ in range(draw.randint(2, 4))]
        return {"text": texts, "choices": listed, "label": draw.randrange(len(listed))}

    kinds = "sequence_classification"
    tasks = [
        Task("pair", kinds, text_templates=("{text}", "w1 {other} w2"), labels=("a", "b"), **make(sentence)),
        Task(
            "tags", kinds, ("text",), ("x", "y", "z"), problem_type="multi_label_classification",
            **make(lambda texts: {"text": texts, "label": sorted(draw.sample(range(3), draw.randint(0, 3)))}),
        ),
        Task("score", "regression", ("text",), **make(lambda texts: {"text": texts, "label": draw.random()})),
        Task("quiz", "multiple_choice", context_template="{text}", choices_column="choices", **make(choices)),
        Task("names", "token_classification", ("words",), ("O", "B-X", "I-X"), **make(words)),
        Task("prose", "masked_lm", ("text",), mlm_probability=0.3, **make(lambda texts: {"text": texts})),
    ]  # fmt: skip
    answers = make(lambda texts: sentence(texts) | {"question_id": texts.split()[0]})
    other = Task(
        "other", kinds, ("text", "other"), ("a", "b"), metrics=("f1a", "exact_match"), head_task="pair",
        validation=answers["validation"], test=answers["test"],
    )  # fmt: skip
    return {task.name: task for task in (*tasks, other)}


def kinds_trainer(output_dir, target="names", leave_out=(), dropout=0.1, **settings):
    config = BertConfig(
        vocab_size=len(SPECIAL) + len(WORDS), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, max_position_embeddings=40, initializer_range=0.2, hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
    )  # fmt: skip
    tasks = {name: task for name, task in every_kind().items() if name not in leave_out}
    torch.manual_seed(0)
    model = MultitaskModel(MultitaskConfig(encoder=config, tasks=tasks))
    defaults = {"num_train_epochs": 1, "per_device_train_batch_size": 4, "alpha_data": "train"}
    args = toy_args(output_dir, target_task=target, **defaults | settings)
    return MultitaskTrainer(model=model, args=args, tasks=tasks, processing_class=word_tokenizer())


def run_kinds(output_dir, resume_from_checkpoint=None, **settings):
    """Trains, and returns what comparisons need, as `run_toy`."""
    trainer = kinds_trainer(output_dir, **settings)
    trainer.train(resume_from_checkpoint=resume_from_checkpoint)
    model = trainer.accelerator.unwrap_model(trainer.model)
    return {
        "history": copy.deepcopy(trainer.history),
        "state": {name: tensor.clone() for name, tensor in model.state_dict().items()},
        "counted": None,
        "log_history": list(trainer.state.log_history),
        "scores": {name: trainer.evaluate(name) for name in trainer.eval_dataset},
    }
