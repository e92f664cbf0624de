"""Compares two runs of the toy."""

import pytest
import torch

# Trainer's running mean of the training loss starts again at a resume. Times always differ.
NOT_COMPARED = ("runtime", "per_second")


def comparable(entry):
    return {key: value for key, value in entry.items() if key != "loss" and not key.endswith(NOT_COMPARED)}


def run_differences(one, other):
    """
    Places where two results of `run_toy` differ, in words.

    Weights, buffers, histories and the best score must be equal to the last bit. A phase's mean loss is summed in
    another order after a resume, so that logs are equal to 1e-5; their last entry, which sums a call up, is left out.
    """
    found = (
        [f"keys {one['state'].keys() ^ other['state'].keys()}"] if one["state"].keys() != other["state"].keys() else []
    )
    for name, tensor in one["state"].items():
        if name in other["state"] and not torch.equal(tensor, other["state"][name]):
            found.append(f"weights {name}")
    for key in ("history", "counted"):
        if one[key] != other[key]:
            found.append(f"{key}: {one[key]} / {other[key]}")
    logs, other_logs = ([comparable(entry) for entry in run["log_history"][:-1]] for run in (one, other))
    if logs != [pytest.approx(entry, rel=1e-5) for entry in other_logs]:
        found.append(f"logs: {logs} / {other_logs}")
    return found


def assert_same_run(one, other):
    """Asserts that two results of `run_toy` are of the same run."""
    found = run_differences(one, other)
    assert not found, "\n".join(found)
