"""How far a score can be trusted, in words."""

from __future__ import annotations


def alpha_data_in_words(alpha_data: str, target: str, meta_rows: int | None, meta_use: str = "α was fitted") -> str:
    """
    Which rows the meta set was, and what that means for the scores.

    Args:
        alpha_data (`str`): `"train_holdout"`, `"train"`, `"validation"` or `"test"`.
        target (`str`): The target task.
        meta_rows (`int`, *optional*): How many rows those are.
        meta_use (`str`, *optional*): What happened on them, as a sentence that goes on with "on ...".

    Returns:
        `str`: A paragraph.

    Raises:
        ValueError: For another `alpha_data`.
    """
    rows = f"{meta_rows} rows" if meta_rows is not None else "rows"
    used = f"In this run {meta_use} on {rows} of `{target}`'s"
    if alpha_data == "train_holdout":
        return (
            f"{used} training data that were held out from training. Neither the validation nor the test split took "
            "part in it."
        )
    if alpha_data == "train":
        return (
            f"{used} training data that were also trained on, which favours tasks that help to fit known rows. "
            "Neither the validation nor the test split took part in it."
        )
    if alpha_data == "validation":
        return (
            f"{used} validation split, as in the αVIL paper. **Scores on the validation split are therefore "
            "optimistic**; only another split's are fair."
        )
    if alpha_data == "test":
        return (
            f"In this run {meta_use} on the text of {rows} of `{target}`'s test split, without their labels, so that "
            "the model is adapted to just these rows."
        )
    raise ValueError(f"alpha_data={alpha_data!r}: pass 'train_holdout', 'train', 'validation' or 'test'")


def score_in_words(
    split: str,
    is_target: bool,
    alpha_data: str | None,
    selected_on: str | None,
    meta_use: str = "α was fitted",
) -> str:
    """
    What a reader must know of a score; empty where there is nothing to warn of.

    Args:
        split (`str`): What the score was measured on.
        is_target (`bool`): Whether it is the target's.
        alpha_data (`str`, *optional*): What the meta set was.
        selected_on (`str`, *optional*): The target's split on which the best checkpoint was chosen.
        meta_use (`str`, *optional*): What happened on the meta set, as a sentence that goes on with "on ...".

    Returns:
        `str`: A remark, such as `"optimistic: α was fitted on this split"`.
    """
    if not is_target:
        return ""
    reasons = []
    if alpha_data == split:
        reasons.append(f"{meta_use} on this split" + ("'s text" if split == "test" else ""))
    if selected_on == split:
        reasons.append("the best model was selected on it")
    return f"optimistic: {' and '.join(reasons)}" if reasons else ""
