"""
The launch files in configs/, read as `accelerate launch --config_file` reads them.

Tests of the driver and of SIGTERM really launch processes by them; forked ranks have their environment.
"""

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser

from support.forking import ROOT

CONFIGS = ROOT / "configs"


def read(config, *overrides):
    command = ["--config_file", str(CONFIGS / f"{config}.yaml"), *overrides, "script.py"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(command))
    return args


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.yaml")), ids=lambda path: path.stem)
def test_accelerate_reads_the_file(path):
    assert load_config_from_file(str(path)).num_processes >= 1
    assert read(path.stem).mixed_precision == "no"


def test_all_launch_files_are_there():
    assert {path.stem for path in CONFIGS.glob("*.yaml")} == {"single", "ddp", "fsdp2", "multinode"}


def test_what_the_files_ask_for():
    single, ddp, fsdp2 = read("single"), read("ddp"), read("fsdp2")
    assert not single.multi_gpu
    assert not single.use_fsdp
    assert ddp.multi_gpu
    assert not ddp.use_fsdp
    assert fsdp2.use_fsdp
    assert fsdp2.fsdp_version == 2
    assert fsdp2.fsdp_state_dict_type == "SHARDED_STATE_DICT"


def test_the_command_line_replaces_the_placeholders_of_several_machines():
    args = read(
        "multinode", "--num_machines", "4", "--num_processes", "32", "--machine_rank", "3",
        "--main_process_ip", "10.0.0.1", "--main_process_port", "29501",
    )  # fmt: skip
    assert args.multi_gpu
    assert (args.num_machines, args.num_processes, args.machine_rank) == (4, 32, 3)
    assert (args.main_process_ip, args.main_process_port) == ("10.0.0.1", 29501)
