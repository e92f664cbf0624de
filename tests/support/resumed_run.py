"""A run of two plans with a checkpoint at every step, and what resumes it without writing more."""

from support.toy_run import NOISY_RUN

RUN = NOISY_RUN | {
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_strategy": "steps",
    "logging_steps": 3,
}

# Not save_strategy="no", under which Trainer does not note the step of the best score.
NO_MORE_CHECKPOINTS = {"save_steps": 1000}
