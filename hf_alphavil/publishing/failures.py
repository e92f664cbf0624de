"""What is said when the Hub cannot be reached or refuses something: one line each, with what to do."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from huggingface_hub import get_token
from huggingface_hub.errors import HfHubHTTPError, HTTPError, OfflineModeIsEnabled
from transformers import TrainingArguments

#: What a request to the Hub raises if it fails; `RuntimeError` comes from `hf_xet`.
HUB_ERRORS = (HTTPError, ConnectionError, RuntimeError)
NO_TOKEN = "there is no token: log in with `hf auth login`, set HF_TOKEN or pass hub_token"


class HubError(OSError):
    """A push to the Hub failed. The message says why, and how to push later what is saved."""


def repository_of(args: TrainingArguments) -> str:
    """`str`: The name of the repository that a run pushes to, as far as the arguments say."""
    return args.hub_model_id or Path(str(args.output_dir)).absolute().name


def check_token(args: TrainingArguments) -> None:
    """
    Checks that a run that pushes has a token, without a request and before anything is loaded.

    Args:
        args (`TrainingArguments`): For `push_to_hub` and `hub_token`.

    Raises:
        HubError: If there is none.
    """
    if args.push_to_hub and args.hub_token is None and get_token() is None:
        raise HubError(f"{repository_of(args)} cannot be pushed to: {NO_TOKEN}")


def reason_of(error: BaseException, token: str | None = None) -> str:
    """
    Says why a request to the Hub failed, and what to do about it.

    Args:
        error (`BaseException`): What was raised.
        token (`str`, *optional*): The token that the user passed. Defaults to the stored one.

    Returns:
        `str`: The reason, without a full stop.
    """
    if isinstance(error, OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set: unset it to reach the Hub"
    if not isinstance(error, HfHubHTTPError):
        return f"the Hub cannot be reached ({_first_line(error)})"
    status, said = error.response.status_code, error.server_message or _first_line(error)
    if status in (401, 403) and token is None and get_token() is None:
        return NO_TOKEN
    if status == 401:
        return f"the Hub does not accept the token ({said}): log in again, or pass a valid hub_token"
    if status == 403:
        return f"the token may not write there ({said}): pass a token with write access, or another hub_model_id"
    return f"the Hub answered {status} ({said})"


@contextlib.contextmanager
def explained(what: str, token: str | None = None, later: str = "") -> Iterator[None]:
    """
    Turns a failed request to the Hub into one error in plain words.

    Args:
        what (`str`): What failed, as the start of a sentence.
        token (`str`, *optional*): The token that the user passed.
        later (`str`, *optional*): How to do it later.

    Raises:
        HubError: If a request of the `with` block fails.
    """
    try:
        yield
    except HUB_ERRORS as error:
        raise HubError(f"{what}: {reason_of(error, token)}{later}") from error


def _first_line(error: BaseException) -> str:
    return next(iter(str(error).strip().splitlines()), "") or type(error).__name__
