"""The command line of a script: flags in groups, after a YAML or JSON file of flags or without one."""

from __future__ import annotations

import difflib
import sys
from argparse import Action, ArgumentError, Namespace
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from transformers import HfArgumentParser, TrainingArguments

from .flags_file import FILE_ENDINGS, read_flags_file
from .user_errors import end_with_error

#: What YAML 1.1 also writes for true and false. The other words are those of `HfArgumentParser`.
SWITCHES = {"on": "true", "off": "false"}


def parse_command_line(
    classes: Sequence[type],
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    prog: str | None = None,
) -> tuple[Any, ...]:
    """
    Parses a command line into dataclasses.

    If the first argument ends in `.yaml`, `.yml` or `.json`, it is a file of flags. Flags behind it override it.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.
        description (`str`, *optional*): What the script does, for `--help`.
        arguments (`Sequence[str]`, *optional*): The words of the command line. Defaults to those of the process.
        prog (`str`, *optional*): The command's name in `--help`. Defaults to the name of the running script.

    Returns:
        `tuple`: One instance per class, and a `set[str]`: the fields that the command line or its file gives.

    Raises:
        SystemExit: If a flag is unknown or a value does not fit it, after one line that says so, and after `--help`.
        OSError: If the file of flags cannot be read.
        ValueError: If the file is not a mapping from flags to values, or a class refuses a value.
    """
    parser = FlagParser(classes, description, prog)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0].lower().endswith(FILE_ENDINGS):
        parser.take_defaults_from(Path(arguments[0]))
        arguments = arguments[1:]
    parser.refuse_repeated_lists(arguments)
    *parsed, rest = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    parser.refuse_unknown(rest)
    return *parsed, parser.given(arguments)


class FlagParser(HfArgumentParser):
    """
    `HfArgumentParser` with groups in `--help`, and with errors of one line.

    A field belongs to the group of the class that first declares it. The class's `help_title` is the group's name.
    Trainer's own group is the last.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.
        description (`str`, *optional*): What the script does.
        prog (`str`, *optional*): Its name. Defaults to that of the running script.
    """

    def __init__(self, classes: Sequence[type], description: str | None = None, prog: str | None = None) -> None:
        usage = "%(prog)s [FLAGS.yaml or FLAGS.json] [--FLAG VALUE ...]"
        super().__init__(prog=prog, description=description, usage=usage)
        self.dataclass_types = list(classes)  # type: ignore
        self._file: Path | None = None
        self._in_file: set[str] = set()
        self._hints = {name: hint for one in classes for name, hint in get_type_hints(one).items()}
        declared = [(_owner(one, entry.name), entry) for one in classes for entry in fields(one) if entry.init]
        groups = {owner: None for owner, _ in declared if owner is not TrainingArguments}
        titles = {owner: vars(owner).get("help_title", owner.__name__) for owner in groups}
        added: dict[type, Any] = {
            owner: self.add_argument_group(title, (owner.__doc__ or "").strip().split("\n\n")[0])
            for owner, title in titles.items()
        }
        added[TrainingArguments] = self.add_argument_group("Trainer (transformers.TrainingArguments)")
        for owner, entry in declared:
            entry.type = self._hints[entry.name]
            self._parse_dataclass_field(added[owner], entry)

    def take_defaults_from(self, file: Path) -> None:
        """
        Makes the flags of a file the defaults of this parser.

        Raises:
            SystemExit: If a flag is unknown or a value does not fit it, after one line that says so.
            OSError: If the file cannot be read.
            ValueError: If the file is not a mapping from flags to values.
        """
        self._file = file
        words: list[str] = []
        as_they_are: dict[str, Any] = {}
        for name, value in read_flags_file(file).items():
            flag = f"--{name}"
            if flag not in self._option_string_actions:
                self.refuse_unknown([flag])
            action = self._option_string_actions[flag]
            if isinstance(value, list) and not all(isinstance(item, str) for item in value):
                self.error(f"{name} is a list of {value!r:.80}: write a list of words")
            if value is None or isinstance(value, dict) or (isinstance(value, list) and action.nargs != "+"):
                as_they_are[action.dest] = self._checked(action, name, value)
            elif isinstance(value, list):
                words += [flag, *value]
            else:
                words.append(f"{flag}={SWITCHES.get(value.lower(), value) if _is_switch(action) else value}")
        given, rest = self.parse_known_args(words)
        self.refuse_unknown(rest)
        self.set_defaults(**(vars(given) | as_they_are))
        self._in_file = self.given(words) | set(as_they_are)
        self._file = None

    def given(self, words: Sequence[str]) -> set[str]:
        """`set[str]`: The names of the fields that words of the command line or the file of flags give."""
        absent = Namespace(**{action.dest: self for action in self._actions})  # a value that no flag has
        found, _ = self.parse_known_args(words, absent)
        return self._in_file | {name for name, value in vars(found).items() if value is not self}

    def refuse_unknown(self, words: Sequence[str]) -> None:
        """
        Ends the script if words of the command line are left over.

        Raises:
            SystemExit: After one line that names the first word, and the flag that may be meant.
        """
        if not words:
            return
        word = words[0].split("=")[0]
        if not word.startswith("-"):
            self.error(
                f"unexpected {word!r}: write a flag's name before its value; a file of flags "
                f"({', '.join(FILE_ENDINGS)}) comes first, and there is only one"
            )
        flags = [flag for flag in self._option_string_actions if flag.startswith("--")]
        close = difflib.get_close_matches(word, flags, n=1)
        self.error(f"unknown flag {word}" + (f": did you mean {close[0]}?" if close else "; --help lists all flags"))

    def refuse_repeated_lists(self, words: Sequence[str]) -> None:
        """
        Ends the script if a flag with a list of values occurs twice: only its last values would count.

        Raises:
            SystemExit: After one line that names the flag.
        """
        given = [word.split("=")[0] for word in words]
        for action in self._actions:
            if action.nargs == "+" and sum(word in action.option_strings for word in given) > 1:
                flag = action.option_strings[0]
                self.error(f"{flag} occurs twice: write all its values behind one {flag}, with spaces between them")

    def _check_value(self, action: Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            choices = list(map(str, action.choices))
            close = difflib.get_close_matches(str(value).lower(), choices, n=1)
            hint = f"did you mean {close[0]}? It is " if close else "pass "
            raise ArgumentError(action, f"invalid choice: {value!r} ({hint}one of {', '.join(choices)})")

    def error(self, message: str) -> NoReturn:
        """Ends the script with one line, instead of argparse's usage of several hundred."""
        place = f"{self._file}: " if self._file is not None else ""
        end_with_error(f"{place}{' '.join(message.split())}")

    def _checked(self, action: Action, name: str, value: Any) -> Any:
        """A value of a file that no command line could write, if the flag's type allows it."""
        hint = str(self._hints[action.dest])
        if value is None and "None" not in hint:
            self.error(f"{name}: leave it out for the default, {action.default!r}")
        if isinstance(value, dict) and "dict" not in hint:
            self.error(f"{name} is a mapping: write one value")
        if isinstance(value, list) and "list" not in hint:
            self.error(f"{name} is a list: write one value")
        return value


def _owner(settings: type, name: str) -> type:
    """The class that first declares a field."""
    return next(one for one in reversed(settings.__mro__) if name in vars(one).get("__annotations__", {}))


def _is_switch(action: Action) -> bool:
    return getattr(action.type, "__name__", "") == "string_to_bool"
