"""Every block of Python and shell on the pages runs, or is parsed by the command that it calls."""

import re
from unittest import mock

import pytest
import tomllib
from accelerate.commands.launch import launch_command_parser

from hf_alphavil.cli import main as alphavil
from hf_alphavil.modeling.lora import LoraArguments
from hf_alphavil.script_arguments import DriverArguments, DriverTrainingArguments, check_together
from hf_alphavil.settings.command_line import parse_command_line
from support.driving import command_line
from support.forking import fork
from support.pages import DATA, ENCODERS, PAGES, ROOT, blocks_of, run_pages, write_named_files, write_stand_ins

COMMANDS = [
    pytest.param(block, words, id=f"{block.page}:{block.line} {' '.join(words[:3])}")
    for page in PAGES
    for block in blocks_of(page, "bash")
    if block.reason is None
    for words in block.commands
]
#: Why a block is not run: `<!-- not run: reason -->` before it. No other reason counts.
REASONS = ("needs the Hub", "needs several GPUs")
#: The words before the flags of a training run.
TRAINING = (["alphavil", "train"], ["run_glue_avil.py"], ["-m", "hf_alphavil.cli", "train"])


#: What commands call when they have parsed their flags. Those without an entry run.
WORK = {
    "demo": "hf_alphavil.cli.demo.run_demo",
    "report": "hf_alphavil.cli.report.read_run_files",
    "rank": "hf_alphavil.cli.rank._rank",
    "compare": "hf_alphavil.comparing.command.Folder",
    "tasks submission": "hf_alphavil.tasks.__main__._submission",
}


class Reached(BaseException):
    """Raised in place of a command's work."""


@pytest.fixture(scope="module")
def stand_ins(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    write_stand_ins(folder)
    return folder


def test_python_runs(stand_ins):
    """All pages run in one process, to import and warm up once."""
    pages = [page for page in PAGES if blocks_of(page, "python")]
    assert len(pages) >= 7
    finished = fork(run_pages, pages, stand_ins, variables={"ACCELERATE_USE_CPU": "true"}, cwd=stand_ins)
    assert finished.returncode == 0, finished.stderr[-4000:]
    assert not finished.result, "\n".join(finished.result.values())


def flags_of_training(words):
    """The flags of a training run, after those of the launcher have been parsed; `None` for another command."""
    if words[:2] == ["accelerate", "launch"]:
        options = launch_command_parser().parse_args(words[2:])
        words = [*(["-m"] if options.module else []), options.training_script, *options.training_script_args]
        assert options.config_file is None or (ROOT / options.config_file).is_file()
    words = words[words[:1] == ["python"] :]
    return next((words[len(start) :] for start in TRAINING if words[: len(start)] == start), None)


def parse_training(flags):
    driver, args, lora, given = parse_command_line(
        (DriverArguments, DriverTrainingArguments, LoraArguments), arguments=flags, prog="alphavil train"
    )
    if not driver.demo:
        args.decide(given, predicts=driver.make_submission is not None)
    check_together(driver, args, lora)
    return driver


@pytest.mark.parametrize(("block", "words"), COMMANDS)
def test_commands_are_parsed(block, words, stand_ins, monkeypatch):
    write_named_files(ROOT / block.page, stand_ins)
    monkeypatch.chdir(stand_ins)
    if (flags := flags_of_training(words)) is not None:
        driver = parse_training(flags)
        for path in (driver.task_config, driver.include_path):
            assert path is None or any((folder / path).exists() for folder in (stand_ins, ROOT)), path
    elif words[0] == "make":
        makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
        assert all(re.search(rf"(?m)^{target}:", makefile) for target in words[1:] if "=" not in target)
    elif words[:2] == ["pip", "install"]:
        project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert set(re.findall(r"\[(\w+)\]", " ".join(words))) <= project["optional-dependencies"].keys()
    elif words[0] == "alphavil":
        arguments = [str(ROOT / word) if word.startswith("examples/") else word for word in words[1:]]
        if (work := WORK.get(" ".join(words[1:3])) or WORK.get(words[1])) is None:
            assert alphavil.main(arguments) == 0
        else:
            with mock.patch(work, side_effect=Reached), pytest.raises(Reached):
                alphavil.main(arguments)
    else:
        assert words[0] == "python", f"no rule for this command: {words}"
        assert (ROOT / words[1]).is_file()


def test_commands_on_local_data_run(stand_ins):
    """Those whose data and encoder are stand-ins."""
    count = 0
    for parameters in COMMANDS:
        flags = flags_of_training(parameters.values[1])
        if flags is not None and set(DATA) & set(flags) and set(ENCODERS) & set(flags):
            small = ["--num_train_epochs", "1", "--recipe", "none", "--save_strategy", "no"]
            variables = {"ACCELERATE_USE_CPU": "true"}
            finished = fork(*command_line([*flags, *small]), variables=variables, cwd=stand_ins)
            assert finished.returncode == 0, finished.stderr[-4000:]
            count += 1
    assert count


def test_a_block_that_is_not_run_says_why():
    reasons = [block.reason for page in PAGES for block in blocks_of(page, "python", "bash") if block.reason]
    assert set(reasons) <= set(REASONS)
