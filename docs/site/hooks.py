"""Hooks of the site: pages link to files as on GitHub, and docstrings have Hugging Face's form."""

import re
from pathlib import Path

from mkdocs.structure.files import File

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def on_files(files, config):
    """Adds the measurements, and what pages link to in their folder of results."""
    text = (BENCHMARKS / "README.md").read_text(encoding="utf-8").replace("](../docs/", "](")
    linked = {
        path for page in [text, *_pages(files)] for path in re.findall(r"\]\((?:[\w./]*/)?(results/[^)#]+)\)", page)
    }
    for path in sorted(linked):
        files.append(File.generated(config, path, abs_src_path=str(BENCHMARKS / path)))
    files.append(File.generated(config, "benchmarks.md", content=text))
    return files


def _pages(files):
    return [file.content_string for file in files.documentation_pages()]


def on_page_markdown(markdown, page, config, files):
    """Links that leave docs/ lead to the copies above."""
    return markdown.replace("](../benchmarks/README.md", "](benchmarks.md").replace(
        "](../benchmarks/results/", "](results/"
    )


def on_page_content(html, page, config, files):
    """Shows the types and references of docstrings as words: `int`, *optional* and [`load_tasks`]."""
    html = re.sub(r"<code>(`[^<]*)</code>", lambda type_: type_[1].replace("`", "").replace("*", ""), html)
    return re.sub(r"\[(<code>[^<]*</code>)\]", r"\1", html)
