"""Describes in words how far a score can be trusted."""

from __future__ import annotations


def alpha_data_in_words(
    alpha_data: str,
    target: str,
    meta_rows: int | None,
    meta_use: str = "α was fitted",
    trained_in_the_end: bool = False,
) -> str:
    """
    Explains where the meta set came from, and what that means for the scores.

    Args:
        alpha_data (`str`): Source of the meta set: `"train_holdout"`, `"train"`, `"validation"` or `"test"`.
        target (`str`): The target task.
        meta_rows (`int`, *optional*): Number of rows of the meta set.
        meta_use (`str`, *optional*, defaults to `"α was fitted"`):
            What the meta set was used for, as the start of a sentence that continues with "on ...".
        trained_in_the_end (`bool`, *optional*, defaults to `False`):
            Whether the run's last epochs trained on held-out rows too (`final_target_epochs`).

    Returns:
        `str`: A paragraph.

    Raises:
        ValueError: For any other `alpha_data`.
    """
    rows = f"{meta_rows} rows" if meta_rows is not None else "rows"
    used = f"In this run, {meta_use} on {rows} of `{target}`'s"
    if alpha_data == "train_holdout":
        until = "" if not trained_in_the_end else " before the last epochs, which train on the target alone"
        return (
            f"{used} training data that were held out and not trained on{until}. Neither the validation nor the test "
            "split was used for this."
        )
    if alpha_data == "train":
        return (
            f"{used} training data that the model was also trained on. This favours tasks that help to fit "
            "rows that the model has already seen. Neither the validation nor the test split was used for this."
        )
    if alpha_data == "validation":
        return (
            f"{used} validation split, as in the αVIL paper. **Scores on the validation split are therefore "
            "optimistic**; only scores on other splits are fair."
        )
    if alpha_data == "test":
        return (
            f"In this run, {meta_use} on the inputs of {rows} of `{target}`'s test split, without their labels. The "
            "model is therefore adapted to exactly these rows."
        )
    raise ValueError(f"alpha_data={alpha_data!r}: pass 'train_holdout', 'train', 'validation' or 'test'")


def rows_in_words(rows: str, held_out: int | None) -> str:
    """
    A task's training rows, with those that were held out of them.

    Args:
        rows (`str`): The number of rows that were trained.
        held_out (`int`, *optional*): The number of rows that were held out.
    """
    return f"{rows} (+ {held_out:,} held out)" if held_out else rows


def score_in_words(
    split: str,
    is_target: bool,
    alpha_data: str | None,
    selected_on: str | None,
    meta_use: str = "α was fitted",
    *,
    is_selecting: bool,
    step: int | None = None,
) -> str:
    """
    A warning about a score; empty if there is nothing to warn about.

    Args:
        split (`str`): The split the score was measured on.
        is_target (`bool`): Whether it is a score of the target.
        alpha_data (`str`, *optional*): Source of the meta set.
        selected_on (`str`, *optional*): The split on which the best checkpoint was chosen.
        meta_use (`str`, *optional*, defaults to `"α was fitted"`):
            What the meta set was used for, as the start of a sentence that continues with "on ...".
        is_selecting (`bool`): Whether the best checkpoint was chosen by a score of the task.
        step (`int`, *optional*): The step at which it was measured, if the model has been trained since.

    Returns:
        `str`: A remark, such as `"optimistic: α was fitted on this split"`.
    """
    reasons = []
    if is_target and alpha_data == split:
        reasons.append(f"{meta_use} on this split" + ("'s text" if split == "test" else ""))
    if selected_on == split and is_selecting:
        reasons.append("the best model was selected on it")
    remarks = [f"optimistic: {' and '.join(reasons)}"] if reasons else []
    if step is not None:
        remarks.append(f"of the model at step {step}, before the training's end")
    return "; ".join(remarks)
