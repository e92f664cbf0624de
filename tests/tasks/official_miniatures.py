"""Small files of invented rows in the official forms, and a tokenizer of their few words."""

import json

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = "the a cat dog sat ran slept on mat what was cause of this ? happened as result ."
SPLIT_FILES = {
    "glue": {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
    "superglue": {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"},
}


def make_tokenizer() -> PreTrainedTokenizerFast:
    words = WORDS.split()
    vocabulary = {word: number for number, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    backend = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    )


def miniature_lines(task: str, split: str) -> list[str]:
    """The lines of a miniature official file: three rows, in the official form of `task`."""
    test = split == "test"
    pairs = [("The cat sat", "The cat slept"), ('A "dog ran', "A dog slept"), ("Über the mat", "The cat sat")]
    if task in ("rte", "wnli"):
        labels = ["entailment", "not_entailment", "entailment"] if task == "rte" else ["0", "1", "0"]
        rows = [[str(n), *pair, *([] if test else [labels[n]])] for n, pair in enumerate(pairs)]
        return ["\t".join(row) for row in [["index", "sentence1", "sentence2", *([] if test else ["label"])], *rows]]
    if task == "mrpc":
        header = "{}\t#1 ID\t#2 ID\t#1 String\t#2 String".format("index" if test else "\ufeffQuality")
        return [header, *("\t".join([str(n % 2), "7", "8", *pair]) for n, pair in enumerate(pairs))]
    if task == "cola":
        if test:
            return ["index\tsentence", *(f"{n}\t{pair[0]}" for n, pair in enumerate(pairs))]
        return [f"src\t{n % 2}\t{'*' if n % 2 == 0 else ''}\t{pair[0]}" for n, pair in enumerate(pairs)]
    if task == "stsb":
        header = ["index", "genre", "filename", "year", "old_index", "source1", "source2", "sentence1", "sentence2"]
        rows = [[str(n), *"gfyoss", *pair, *([] if test else [f"{n}.250"])] for n, pair in enumerate(pairs)]
        return ["\t".join(row) for row in [[*header, *([] if test else ["score"])], *rows]]
    if task == "cb":
        labels = [{} if test else {"label": label} for label in ("neutral", "entailment", "contradiction")]
        return [
            json.dumps({"premise": pair[0], "hypothesis": pair[1], **labels[n], "idx": n})
            for n, pair in enumerate(pairs)
        ]
    assert task == "copa"
    rows = [
        {"premise": a, "choice1": b, "choice2": "The dog\u2028ran", "question": ("cause", "effect")[n % 2]}
        for n, (a, b) in enumerate(pairs)
    ]
    return [
        json.dumps({**row, **({} if test else {"label": n % 2}), "idx": n}, ensure_ascii=False)
        for n, row in enumerate(rows)
    ]


FOLDERS = {
    "rte": "glue/RTE",
    "mrpc": "glue/MRPC",
    "wnli": "glue/WNLI",
    "cola": "glue/CoLA",
    "stsb": "glue/STS-B",
    "cb": "superglue/CB",
    "copa": "superglue/COPA",
}
