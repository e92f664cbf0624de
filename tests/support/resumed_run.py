"""A run of two plans with a checkpoint at every step."""

from support.toy_run import NOISY_RUN

# Two plans, a checkpoint at every step.
RUN = NOISY_RUN | {
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_strategy": "steps",
    "logging_steps": 3,
}
