"""Small files of invented rows in the official forms, and a tokenizer of their few words."""

import json

from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import PreTrainedTokenizerFast

WORDS = "the a cat dog sat ran slept on mat what was cause of this ? happened as result ."
SPLIT_FILES = {
    "glue": {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
    "superglue": {"train": "train.jsonl", "validation": "val.jsonl", "test": "test.jsonl"},
}
#: Where the files are called otherwise, or some splits have none.
OTHER_FILES = {
    "mnli": {"train": "train.tsv", "validation": "dev_matched.tsv", "test": "test_matched.tsv"},
    "mnli_mismatched": {"validation": "dev_mismatched.tsv", "test": "test_mismatched.tsv"},
    "ax": {"test": "diagnostic.tsv"},
    "axb": {"validation": "AX-b.jsonl"},
    "axg": {"validation": "AX-g.jsonl"},
}


def split_files(task: str) -> dict[str, str]:
    """The official file of each split."""
    return OTHER_FILES.get(task) or SPLIT_FILES[FOLDERS[task].split("/")[0]]


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
    if task in FURTHER:
        return FURTHER[task](split)
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


PAIRS = [("The cat sat", "The cat slept"), ('A "dog ran', "A dog slept"), ("Über the mat", "The cat sat")]
BOOLS = (True, False, True)


def tab_lines(header: list[str], rows: list[list[str]]) -> list[str]:
    return ["\t".join(row) for row in [header, *rows]]


def json_lines(rows: list[dict], labels: tuple | None) -> list[str]:
    """JSON lines with row numbers as `idx`, and with labels if there are any."""
    labelled = [{**row, "idx": n, **({} if labels is None else {"label": labels[n]})} for n, row in enumerate(rows)]
    return [json.dumps(row, ensure_ascii=False) for row in labelled]


def sst2(split: str) -> list[str]:
    if split == "test":
        return tab_lines(["index", "sentence"], [[str(n), a] for n, (a, _) in enumerate(PAIRS)])
    return tab_lines(["sentence", "label"], [[f"{a} ", str((n + 1) % 2)] for n, (a, _) in enumerate(PAIRS)])


def qqp(split: str) -> list[str]:
    if split == "test":
        return tab_lines(["id", "question1", "question2"], [[str(n), *pair] for n, pair in enumerate(PAIRS)])
    header = ["id", "qid1", "qid2", "question1", "question2", "is_duplicate"]
    return tab_lines(header, [["133", "213", "214", *pair, str((n + 1) % 2)] for n, pair in enumerate(PAIRS)])


def mnli(split: str) -> list[str]:
    header = ["index", "promptID", "pairID", "genre", "sentence1_binary_parse", "sentence2_binary_parse"]
    header += ["sentence1_parse", "sentence2_parse", "sentence1", "sentence2"]
    rows = [
        [str(n), "31", "31e", "fiction", "( a )", "( b )", "(R a)", "(R b)", *pair] for n, pair in enumerate(PAIRS)
    ]
    if split == "test":
        return tab_lines(header, rows)
    number = 1 if split == "train" else 5
    labels = ["neutral", "entailment", "contradiction"]
    header += [f"label{n}" for n in range(1, number + 1)] + ["gold_label"]
    return tab_lines(header, [row + ["neutral"] * number + [label] for row, label in zip(rows, labels, strict=True)])


def qnli(split: str) -> list[str]:
    labels = ["entailment", "not_entailment", "entailment"]
    rows = [[str(n), *pair, *([] if split == "test" else [labels[n]])] for n, pair in enumerate(PAIRS)]
    return tab_lines(["index", "question", "sentence", *([] if split == "test" else ["label"])], rows)


def ax(split: str) -> list[str]:
    return tab_lines(["index", "sentence1", "sentence2"], [[str(n), *pair] for n, pair in enumerate(PAIRS)])


def boolq(split: str) -> list[str]:
    return json_lines([{"question": a, "passage": b} for a, b in PAIRS], None if split == "test" else BOOLS)


def superglue_rte(split: str) -> list[str]:
    labels = None if split == "test" else ("entailment", "not_entailment", "entailment")
    return json_lines([{"premise": a, "hypothesis": b} for a, b in PAIRS], labels)


def wic(split: str) -> list[str]:
    rows = [
        {
            "word": "cat",
            "sentence1": "The cat sat",
            "sentence2": "A cat",
            "start1": 4,
            "end1": 7,
            "start2": 2,
            "end2": 5,
        },
        {
            "word": "run",
            "sentence1": "Dogs ran.",
            "sentence2": "It runs",
            "start1": 5,
            "end1": 8,
            "start2": 3,
            "end2": 7,
        },
        {"word": "Ü", "sentence1": "Ü the", "sentence2": "über Ü", "start1": 0, "end1": 1, "start2": 5, "end2": 6},
    ]
    return json_lines([{**row, "version": 1.1} for row in rows], None if split == "test" else BOOLS)


def wsc(split: str) -> list[str]:
    rows = [
        ("The cat saw the dog, and it ran.", "The cat", 0, "it", 6),
        ("The cat saw the dog, and it ran.", "the dog", 3, "it", 6),
        ("Mary met Über-Anna because she slept.", "Mary", 0, "she", 4),
    ]
    keys = ("span1_text", "span1_index", "span2_text", "span2_index")
    objects = [{"text": text, "target": dict(zip(keys, spans, strict=True))} for text, *spans in rows]
    return json_lines(objects, None if split == "test" else BOOLS)


def multirc(split: str) -> list[str]:
    """Two paragraphs: one question with two answers, and two questions with one each (of four answers in all)."""
    lines, answer, question = [], 0, 0
    for paragraph, answers in enumerate([[["It sat", "It ran"]], [["The mat"], ["A dog"]]]):
        questions = []
        for texts in answers:
            made = []
            for text in texts:
                made.append({"text": text, "idx": answer, **({} if split == "test" else {"label": answer % 2})})
                answer += 1
            questions.append({"question": "What?", "answers": made, "idx": question})
            question += 1
        passage = {"text": f"The cat sat. {paragraph}", "questions": questions}
        lines.append(json.dumps({"idx": paragraph, "version": 1.1, "passage": passage}))
    return lines


def record(split: str) -> list[str]:
    """Two passages of three candidates (one named twice), with two queries and one."""
    lines, query = [], 0
    for passage, number in enumerate([2, 1]):
        text = "Mary met Anna and Paul. Mary sat.\n@highlight\nAnna ran"
        entities = [{"start": start, "end": end} for start, end in [(0, 3), (9, 12), (18, 21), (24, 27)]]
        queries = []
        for _ in range(number):
            answers = [{"start": 9, "end": 12, "text": "Anna"}, {"start": 45, "end": 48, "text": "Anna"}]
            asked = {"query": "Then @placeholder ran", "idx": query}
            queries.append(asked | ({} if split == "test" else {"answers": answers}))
            query += 1
        whole = {
            "source": "Daily mail",
            "passage": {"text": text, "entities": entities},
            "qas": queries,
            "idx": passage,
        }
        lines.append(json.dumps(whole))
    return lines


def axb(split: str) -> list[str]:
    rows = [
        {"sentence1": a, "sentence2": b, "logic": "Negation", "idx": str(n), "label": "not_entailment"}
        for n, (a, b) in enumerate(PAIRS)
    ]
    return [json.dumps(row, ensure_ascii=False) for row in rows]


def axg(split: str) -> list[str]:
    rows = [{"premise": a, "hypothesis": b, "pair_id": 551 + n} for n, (a, b) in enumerate([*PAIRS, PAIRS[0]])]
    return json_lines(rows, ("entailment", "not_entailment", "entailment", "entailment"))


FURTHER = {
    "sst2": sst2,
    "qqp": qqp,
    "mnli": mnli,
    "mnli_mismatched": mnli,
    "qnli": qnli,
    "ax": ax,
    "boolq": boolq,
    "superglue_rte": superglue_rte,
    "wic": wic,
    "wsc": wsc,
    "multirc": multirc,
    "record": record,
    "axb": axb,
    "axg": axg,
}
FOLDERS = {
    "rte": "glue/RTE",
    "mrpc": "glue/MRPC",
    "wnli": "glue/WNLI",
    "cola": "glue/CoLA",
    "stsb": "glue/STS-B",
    "cb": "superglue/CB",
    "copa": "superglue/COPA",
    "sst2": "glue/SST-2",
    "qqp": "glue/QQP",
    "mnli": "glue/MNLI",
    "mnli_mismatched": "glue/MNLI",
    "qnli": "glue/QNLI",
    "ax": "glue/diagnostic",
    "boolq": "superglue/BoolQ",
    "superglue_rte": "superglue/RTE",
    "wic": "superglue/WiC",
    "wsc": "superglue/WSC",
    "multirc": "superglue/MultiRC",
    "record": "superglue/ReCoRD",
    "axb": "superglue/AX-b",
    "axg": "superglue/AX-g",
}
