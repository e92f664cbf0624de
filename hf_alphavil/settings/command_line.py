"""
The command line of a script: flags in groups, after a YAML or JSON file of flags or without one.

A layer over `HfArgumentParser`, for which the fields of `TrainingArguments` are declared. Its own `parse_yaml_file`
takes no flags beside the file; jsonargparse would be a dependency that reads these declarations in its own way.
"""

from __future__ import annotations

import sys
from argparse import SUPPRESS, Action, ArgumentDefaultsHelpFormatter, Namespace, RawDescriptionHelpFormatter
from collections.abc import Collection, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, NoReturn, get_type_hints

from transformers import HfArgumentParser, TrainingArguments

from .flags_file import FILE_ENDINGS, read_flags_file
from .parser import OneLineParser

#: What YAML 1.1 also writes for true and false. The other words are those of `HfArgumentParser`.
SWITCHES = {"on": "true", "off": "false"}


def parse_command_line(
    classes: Sequence[type],
    description: str | None = None,
    arguments: Sequence[str] | None = None,
    prog: str | None = None,
    common: Collection[str] | None = None,
) -> tuple[Any, ...]:
    """
    Parses a command line into dataclasses.

    If the first argument ends in `.yaml`, `.yml` or `.json`, it is a file of flags. Flags behind it override it.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.
        description (`str`, *optional*): What the script does, for `--help`.
        arguments (`Sequence[str]`, *optional*): The words of the command line. Defaults to those of the process.
        prog (`str`, *optional*): The command's name in `--help`. Defaults to the name of the running script.
        common (`Collection[str]`, *optional*): The fields that `--help` shows. Defaults to all; `--help_all` does too.

    Returns:
        `tuple`: One instance per class, and a `set[str]`: the fields that the command line or its file gives.

    Raises:
        SystemExit: If a flag is unknown or a value does not fit it, after one line that says so, and after `--help`.
        OSError: If the file of flags cannot be read.
        ValueError: If the file is not a mapping from flags to values, or a class refuses a value.
    """
    parser = FlagParser(classes, description, prog, common)
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    if arguments and arguments[0].lower().endswith(FILE_ENDINGS):
        parser.take_defaults_from(Path(arguments[0]))
        arguments = arguments[1:]
    parser.refuse_repeated_lists(arguments)
    *parsed, rest = parser.parse_args_into_dataclasses(arguments, return_remaining_strings=True)
    parser.refuse_unknown(rest)
    return *parsed, parser.given(arguments)


class FlagHelp(ArgumentDefaultsHelpFormatter, RawDescriptionHelpFormatter):
    """A help that keeps the lines of the examples, and shows one spelling of a flag and the defaults that say much."""

    def _format_action_invocation(self, action: Action) -> str:
        flags = [flag for flag in action.option_strings if flag[2:].replace("-", "_") == flag[2:]]
        value = self._format_args(action, self._get_default_metavar_for_optional(action)) if action.nargs != 0 else ""
        return f"{', '.join(flags)} {value}".strip()

    def _get_help_string(self, action: Action) -> str:
        says_little = action.default is False or action.default in (None, "", [])
        return (action.help or "") if says_little else super()._get_help_string(action) or ""


class _Help(Action):
    """Shows some flags, or all, and ends the script."""

    def __call__(self, parser: Any, namespace: Namespace, values: Any, option_string: str | None = None) -> None:
        parser.show_help(self.const)


class FlagParser(OneLineParser, HfArgumentParser):
    """
    `HfArgumentParser` with groups in `--help`, and with errors of one line.

    A field belongs to the group of the class that first declares it. The class's `help_title` is the group's name.
    Trainer's own group is the last.

    Args:
        classes (`Sequence[type]`): Dataclasses whose fields are the flags.
        description (`str`, *optional*): What the script does.
        prog (`str`, *optional*): Its name. Defaults to that of the running script.
        common (`Collection[str]`, *optional*): The fields that `--help` shows. Defaults to all.
    """

    def __init__(
        self,
        classes: Sequence[type],
        description: str | None = None,
        prog: str | None = None,
        common: Collection[str] | None = None,
    ) -> None:
        usage = "%(prog)s [FLAGS.yaml or FLAGS.json] [--FLAG VALUE ...]"
        super().__init__(prog=prog, description=description, usage=usage, formatter_class=FlagHelp, add_help=False)
        self.dataclass_types = list(classes)  # type: ignore
        self._file: Path | None = None
        self._in_file: set[str] = set()
        self._hints = {name: hint for one in classes for name, hint in get_type_hints(one).items()}
        shown = "the most used flags" if common is not None else "all flags"
        self.add_argument("-h", "--help", action=_Help, nargs=0, const=common, default=SUPPRESS, help=f"show {shown}")
        if common is not None:
            self.add_argument(
                "--help_all", "--help-all", action=_Help, nargs=0, default=SUPPRESS, help="show all flags"
            )
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

    def show_help(self, names: Collection[str] | None) -> NoReturn:
        """
        Shows flags and ends the script.

        Args:
            names (`Collection[str]`, *optional*): The fields to show. Defaults to all.
        """
        hidden = [action for action in self._actions if names is not None and action.dest not in names]
        for action in hidden:
            action.help = SUPPRESS if not isinstance(action, _Help) else action.help
        self._action_groups = [
            group for group in self._action_groups if any(one.help != SUPPRESS for one in group._group_actions)
        ]
        if names is not None:
            self.epilog = f"These are the most used of {len(self._actions)} flags. `{self.prog} --help_all` shows all."
        self.print_help()
        self.exit()

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

    def where_words_belong(self) -> str:
        endings = ", ".join(FILE_ENDINGS)
        return f"{super().where_words_belong()}; a file of flags ({endings}) comes first, and there is only one"

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

    def error(self, message: str) -> NoReturn:
        """Ends the script with one line, which names the file of flags that is being read."""
        super().error(message if self._file is None else f"{self._file}: {message}")

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
