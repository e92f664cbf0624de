"""One run of the command line trains every task that has local official files."""

from support.driving import drive, read

TASKS = ("wsc", "cola", "mrpc", "stsb", "rte", "wnli", "cb", "copa", "multirc")
METRICS = {
    "wsc": "accuracy",
    "cola": "matthews_correlation",
    "mrpc": "combined_score",
    "stsb": "combined_score",
    "rte": "accuracy",
    "wnli": "accuracy",
    "cb": "combined_score",
    "copa": "accuracy",
    "multirc": "combined_score",
    "axb": "matthews_correlation",
    "axg": "gender_parity",
}


def test_an_epoch_of_each(data_dir, small_encoder, tmp_path):
    out = tmp_path / "out"
    finished = drive(
        "--target", TASKS[0], "--auxiliary", "all", "--diagnostics", "axb", "axg", "--data_dir", data_dir,
        "--model_name_or_path", small_encoder, "--output_dir", out, "--num_train_epochs", "1",
        "--max_train_samples", "64", "--max_eval_samples", "48", "--max_predict_samples", "48",
        "--alpha_holdout_fraction", "0.25", "--max_seq_length", "64", "--do_train", "--do_eval", "--do_predict",
        "--eval_auxiliaries", "--save_strategy", "no", "--disable_tqdm", "true",
    )  # fmt: skip
    assert finished.stdout.count(f"all: {len(TASKS) - 1} tasks: cb, ") == 1
    scores = read(out / "eval_results.json")
    for task, metric in METRICS.items():
        assert -1 <= scores[f"eval_{task}_{metric}"] <= 1
        assert scores[f"eval_{task}_loss"] > 0
    (epoch,) = read(out / "alphavil_history.json")
    assert set(epoch["alpha"]) == set(TASKS)
    assert len((out / "predictions" / "WSC.jsonl").read_text().splitlines()) == 48
