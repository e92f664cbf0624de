"""How far a score can be trusted, in words."""

from __future__ import annotations


def alpha_data_in_words(alpha_data: str, target: str, meta_rows: int | None) -> str:
    """
    Which rows fitted α, and what that means for the scores.

    Args:
        alpha_data (`str`): `"train_holdout"`, `"train"`, `"validation"` or `"test"`.
        target (`str`): The target task.
        meta_rows (`int`, *optional*): How many rows those are.

    Returns:
        `str`: A paragraph.

    Raises:
        ValueError: For another `alpha_data`.
    """
    rows = f"{meta_rows} rows" if meta_rows is not None else "rows"
    if alpha_data == "train_holdout":
        return (
            f"α was fitted on {rows} of `{target}`'s training data that were held out from training. Neither the "
            "validation nor the test split took part in fitting it."
        )
    if alpha_data == "train":
        return (
            f"α was fitted on {rows} of `{target}`'s training data that were also trained on, so α favours tasks that "
            "help to fit known rows. Neither the validation nor the test split took part in fitting it."
        )
    if alpha_data == "validation":
        return (
            f"α was fitted on {rows} of `{target}`'s validation split, as in the paper. **Scores on the validation "
            "split are therefore optimistic**; only another split's are fair."
        )
    if alpha_data == "test":
        return (
            f"α was fitted on the text of {rows} of `{target}`'s test split, without their labels, so that the model "
            "is adapted to just these rows."
        )
    raise ValueError(f"alpha_data={alpha_data!r}: pass 'train_holdout', 'train', 'validation' or 'test'")


def score_in_words(split: str, is_target: bool, alpha_data: str | None, selected_on: str | None) -> str:
    """
    What a reader must know of a score; empty where there is nothing to warn of.

    Args:
        split (`str`): What the score was measured on.
        is_target (`bool`): Whether it is the target's.
        alpha_data (`str`, *optional*): What α was fitted on.
        selected_on (`str`, *optional*): The target's split on which the best checkpoint was chosen.

    Returns:
        `str`: A remark, such as `"optimistic: α was fitted on this split"`.
    """
    if not is_target:
        return ""
    reasons = []
    if alpha_data == split:
        reasons.append("α was fitted on this split" + ("'s text" if split == "test" else ""))
    if selected_on == split:
        reasons.append("the best model was selected on it")
    return f"optimistic: {' and '.join(reasons)}" if reasons else ""
