"""A run of two plans with a checkpoint at every step, and what resumes it without writing more."""

from transformers import TrainerCallback

from support.toy_run import NOISY_RUN

RUN = NOISY_RUN | {
    "num_train_epochs": 2,
    "save_strategy": "steps",
    "save_steps": 1,
    "logging_strategy": "steps",
    "logging_steps": 3,
}


class OwnSaveSteps(TrainerCallback):
    """Makes a resumed run save as its own arguments say: Trainer goes on with the checkpoint's `save_steps`."""

    def on_train_begin(self, args, state, control, **kwargs):
        state.save_steps = args.save_steps


# Not save_strategy="no", under which Trainer does not note the step of the best score.
NO_MORE_CHECKPOINTS = {"save_steps": 1000, "callbacks": [OwnSaveSteps()]}
