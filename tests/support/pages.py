"""The code blocks of the pages, and a folder of stand-ins for the files that they name."""

from __future__ import annotations

import json
import random
import re
import shlex
import traceback
from dataclasses import dataclass
from pathlib import Path

import datasets
import torch
from transformers import BertConfig, BertModel

from support.kinds_run import WORDS, word_tokenizer
from support.own_files import write_rows

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "examples").rglob("*.md"))]
#: The page whose YAML other pages mean.
OWN_DATA = ROOT / "docs" / "own-data.md"
#: What a test replaces in a block, so that it runs in a second. Everything else runs as it is written.
SUBSTITUTIONS = {"n_trials=20": "n_trials=1", "$ENCODER": "path/to/encoder"}
#: Folders that stand for encoders and for official files.
ENCODERS = ("roberta-base", "path/to/encoder")
DATA = ("path/to/data", "path/to/glue_and_superglue")
ROWS = {"train": 24, "validation": 8, "test": 4}


@dataclass(frozen=True)
class Block:
    """
    A fenced block of a page.

    Args:
        page (`str`): The page, from the root of the repository.
        line (`int`): The line of its first line of code.
        language (`str`): The language of the block.
        code (`str`): The code, with substitutions.
        reason (`str`, *optional*): Why it is not run: `<!-- not run: reason -->` on the line before the fence.
    """

    page: str
    line: int
    language: str
    code: str
    reason: str | None

    @property
    def commands(self):
        """Its commands, each a list of words without assignments and comments; one in `$(...)` comes first."""
        for line in self.code.replace("\\\n", " ").splitlines():
            line = line.rstrip().removesuffix("&&")
            inner = re.findall(r"\$\((alphavil .*?)\)", line)
            yield from map(shlex.split, inner)
            for command in inner:
                line = line.replace(f"$({command})", "NAME")
            words = [] if re.match(r"\w+=\$\(", line) else shlex.split(line, comments=True)
            while words and re.match(r"\w+=", words[0]):
                del words[0]
            if words:
                yield words


def blocks_of(page: Path, *languages: str) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    pattern = r"(?:<!-- not run: ([^\n]*?) -->\n)?^```(\w+)\n(.*?)^```$"
    found = []
    for match in re.finditer(pattern, text, flags=re.MULTILINE | re.DOTALL):
        reason, language, code = match.groups()
        for theirs, ours in SUBSTITUTIONS.items():
            code = code.replace(theirs, ours)
        if language in languages:
            line = text.count("\n", 0, match.start(3)) + 1
            found.append(Block(str(page.relative_to(ROOT)), line, language, code, reason))
    return found


def write_named_files(page: Path, folder: Path) -> None:
    """Writes the blocks of YAML that begin with a file's name; where a page has none, those of `OWN_DATA`."""
    for block in [*blocks_of(OWN_DATA, "yaml"), *blocks_of(page, "yaml")]:
        if name := re.match(r"# ([\w.]+\.yaml)\n", block.code):
            (folder / name[1]).write_text(block.code, encoding="utf-8")


def write_stand_ins(folder: Path) -> None:
    """Writes tiny encoders and files of random words, under the names that the pages use."""
    draw = random.Random(0)

    def text():
        return " ".join(draw.choices(WORDS, k=5))

    torch.manual_seed(0)
    encoder = BertModel(BertConfig(
        vocab_size=25, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        max_position_embeddings=128,
    ))  # fmt: skip
    for name in ENCODERS:
        encoder.save_pretrained(folder / name)
        word_tokenizer().save_pretrained(folder / name)
    for name in DATA:
        write_official_files(folder / name, text)
    messages = {"train": "train", "dev": "validation", "test": "test"}
    for name, split in messages.items():
        rows = [
            {"subject": text(), "body": text(), "label": ("question", "complaint")[n % 2]} for n in range(ROWS[split])
        ]
        write_rows(folder / f"{name}.csv", rows)
    for name in ("reviews", "reviews_dev", "ratings"):
        write_rows(folder / f"{name}.csv", [{"text": text(), "label": n % 2} for n in range(24)])
    stars = [
        {"title": text(), "body": text(), "review": text(), "label": ("bad", "fair", "good")[n % 3]} for n in range(24)
    ]
    for name in ("stars", "stars_dev", "stars_test"):
        write_rows(folder / f"{name}.csv", stars)
    quiz = [{"fact": text(), "question": text(), **dict.fromkeys("abcde", "w1"), "answer": n % 5} for n in range(24)]
    write_rows(folder / "quiz.jsonl", quiz)
    for name in ("ner", "ner_dev"):
        write_rows(folder / f"{name}.parquet", [{"words": WORDS[:3], "label": ["O", "B-PER", "I-PER"]}] * 20)
    (folder / "prose.txt").write_text("\n".join(text() for _ in range(24)), encoding="utf-8")


def write_official_files(folder: Path, text) -> None:
    """The paper's five tasks in their official forms."""
    for split, count in ROWS.items():
        labelled = split != "test"
        header = {"rte": "index\tsentence1\tsentence2", "wnli": "index\tsentence1\tsentence2"}
        for task, names in (("rte", ("entailment", "not_entailment")), ("wnli", ("0", "1"))):
            rows = [[str(n), text(), text(), *([names[n % 2]] if labelled else [])] for n in range(count)]
            lines = [header[task] + ("\tlabel" if labelled else ""), *("\t".join(row) for row in rows)]
            write_lines(folder / "glue" / task.upper() / glue_file(split), lines)
        first = "Quality" if labelled else "index"
        lines = [f"{first}\t#1 ID\t#2 ID\t#1 String\t#2 String"]
        lines += [f"{n % 2 if labelled else n}\t7\t8\t{text()}\t{text()}" for n in range(count)]
        write_lines(folder / "glue" / "MRPC" / glue_file(split), lines)
        labels = ("neutral", "entailment", "contradiction")
        pairs = [{"premise": text(), "hypothesis": text(), "label": labels[n % 3], "idx": n} for n in range(count)]
        choices = [
            {"premise": text(), "choice1": text(), "choice2": text(), "question": "cause", "label": n % 2, "idx": n}
            for n in range(count)
        ]
        for task, rows in (("CB", pairs), ("COPA", choices)):
            if not labelled:
                rows = [{key: value for key, value in row.items() if key != "label"} for row in rows]
            name = "val" if split == "validation" else split
            write_lines(folder / "superglue" / task / f"{name}.jsonl", map(json.dumps, rows))


def glue_file(split: str) -> str:
    return {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}[split]


def write_lines(path: Path, lines) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def run_pages(pages: list[Path], folder: Path) -> dict[Path, str]:
    """Runs each page's blocks of Python in order, in the working directory; returns the tracebacks of failures."""
    datasets.config.HF_DATASETS_CACHE = str(folder / "cache")
    failed = {}
    for page in pages:
        write_named_files(page, folder)
        namespace: dict = {"__name__": "page"}
        try:
            for block in blocks_of(page, "python"):
                if block.reason is None:
                    # Line numbers of the page in tracebacks.
                    exec(compile("\n" * (block.line - 1) + block.code, block.page, "exec"), namespace)
        except Exception:
            failed[page] = traceback.format_exc()
    return failed
