"""
Composes YAML into nodes, with bounds on what a small file may unfold into.

A layer over PyYAML, whose loaders keep no lines, take a key twice, and unfold aliases without a bound.
"""

from __future__ import annotations

from typing import Any

import yaml

#: The longest YAML file, in bytes, the most values that it may hold when every alias is written out, and how deep they
#: may nest.
MAX_BYTES = 2**17
MAX_VALUES = 5_000
MAX_DEPTH = 100

_TAG = "tag:yaml.org,2002:"


class YamlError(ValueError):
    """
    Text that is not the YAML it should be.

    Args:
        reason (`str`): What is wrong.
        line (`int`, *optional*): Its line, counted from 1.
    """

    def __init__(self, reason: str, line: int | None = None) -> None:
        self.reason, self.line = reason, line
        super().__init__(f"line {line}: {reason}" if line is not None else reason)


class BoundedLoader(yaml.SafeLoader):
    """PyYAML's `SafeLoader`, which stops at `MAX_VALUES` values and at `MAX_DEPTH` levels."""

    _composed = _depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        self._composed += 1
        self._depth += 1
        if self._composed > MAX_VALUES:
            raise _too_many()
        if self._depth > MAX_DEPTH:
            raise RecursionError
        node = super().compose_node(parent, index)
        self._depth -= 1
        return node


def compose(text: str, loader_class: type[BoundedLoader] = BoundedLoader) -> tuple[BoundedLoader, yaml.Node | None]:
    """
    Parses YAML into nodes, without constructing values.

    Args:
        text (`str`): One YAML document.
        loader_class (`type[BoundedLoader]`, *optional*): The loader.

    Returns:
        `tuple[BoundedLoader, yaml.Node]`: The loader, which can construct values, and the root; `None` if the document
        is empty.

    Raises:
        YamlError: If the text is not YAML, nests too deeply, holds too many values, has a key twice in one mapping or
            a key that is not a single value.
    """
    try:
        loader = loader_class(text)
        root = loader.get_single_node()
        if root is not None:
            _unfolded_size(root, {})
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None
    except RecursionError:
        raise YamlError("nests too deeply, or an alias is inside the value that it refers to.") from None
    return loader, root


def construct(loader: BoundedLoader, node: yaml.Node | None) -> Any:
    """
    Constructs the value of a node.

    Raises:
        YamlError: If a tag does not accept its value, or a date is impossible.
    """
    try:
        return loader.construct_document(node) if node is not None else None
    except yaml.YAMLError as error:
        raise _not_yaml(error) from None
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise YamlError(f"is not YAML that can be read ({type(error).__name__}: {error}).") from None


def line_of(node: yaml.Node) -> int:
    """`int`: The line on which a node begins, counted from 1."""
    return node.start_mark.line + 1


def misreading(loader: BoundedLoader, node: yaml.ScalarNode, is_key: bool = False) -> str | None:
    """
    Says what YAML makes of a word without quotes, if it is not what the word looks like.

    YAML 1.1 reads `no` as false, `012` as ten, `1:30` as ninety, `~` as nothing and `2024-01-01` as a date.

    Args:
        loader (`BoundedLoader`): The loader that composed the node.
        node (`yaml.ScalarNode`): A key or a single value.
        is_key (`bool`, *optional*, defaults to `False`): Whether it is a key, which should be text.

    Returns:
        `str`, *optional*: What the word is read as; `None` for words in quotes, words with a tag, and words that are
        read as they look.
    """
    text, tag = node.value, node.tag.removeprefix(_TAG)
    if node.style is not None or node.tag != loader.resolve(yaml.ScalarNode, text, (True, False)):
        return None
    if tag == "bool":
        looks = text.lower() in ("true", "false") and not is_key
        return None if looks else str(loader.bool_values[text.lower()]).lower()
    if tag == "null":
        return "nothing" if text or is_key else None
    if tag in ("int", "float"):
        number = construct(loader, node)
        looks = str(number) == text if is_key else _looks_like(text, number)
        return None if looks else f"the number {number!s:.40}"
    if tag == "str" or (tag == "merge" and is_key):  # << merges other mappings into its own
        return None
    return "a date" if tag == "timestamp" else "an operator of YAML"


def _looks_like(text: str, number: float) -> bool:
    if isinstance(number, int):
        return text.removeprefix("+") == str(number)
    if text.lower().lstrip("+-") in (".inf", ".nan"):
        return True
    try:
        return "_" not in text and float(text) == number
    except ValueError:  # 1:30.5
        return False


def _not_yaml(error: yaml.YAMLError) -> YamlError:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or str(error).splitlines()[0]
    return YamlError(f"is not YAML ({reason}).", mark.line + 1 if mark else None)


def _too_many() -> YamlError:
    return YamlError(f"holds more than {MAX_VALUES} values, with its aliases written out.")


def _unfolded_size(node: yaml.Node, sizes: dict[int, int]) -> int:
    """The number of values below a node when every alias is written out. Checks the keys on its way."""
    if id(node) in sizes:
        if sizes[id(node)] == 0:
            raise RecursionError
        return sizes[id(node)]
    sizes[id(node)] = 0  # while its children are counted
    children: list[Any] = []
    if isinstance(node, yaml.SequenceNode):
        children = list(node.value)
    elif isinstance(node, yaml.MappingNode):
        _check_keys(node)
        children = [part for pair in node.value for part in pair]
    size = 1 + sum(_unfolded_size(child, sizes) for child in children)
    if size > MAX_VALUES:
        raise _too_many()
    sizes[id(node)] = size
    return size


def _check_keys(node: yaml.MappingNode) -> None:
    seen = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise YamlError("has a list or a mapping as a key: write a name.", line_of(key))
        if key.value in seen:
            raise YamlError(f"the key {key.value!r:.80} occurs twice.", line_of(key))
        seen.add(key.value)
