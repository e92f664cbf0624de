"""A toy run whose loss becomes NaN or infinite at chosen steps."""

from transformers import TrainerCallback

from support.toy_run import RecordingTrainer, toy_args, toy_data, toy_model

RUN = {
    "num_train_epochs": 3,
    "optim": "adamw_torch",
    "learning_rate": 0.01,
    "per_device_train_batch_size": 4,
    "gradient_accumulation_steps": 2,
    "max_phase_steps": 3,
}


STEPS_PER_EPOCH = 9


class Poison(TrainerCallback):
    """Makes the model's loss NaN (and so all its gradients) for the steps named, of rank `rank` or of all."""

    def __init__(self, steps, value=float("nan"), rank=None):
        self.steps, self.value, self.rank = set(steps), value, rank

    def on_step_begin(self, args, state, control, model=None, **kwargs):
        mine = self.rank is None or args.process_index == self.rank
        model.poison = self.value if mine and state.global_step in self.steps else None


class PoisonedTrainer(RecordingTrainer):
    """Its model's loss can be poisoned, and the optimizer state of every phase's start and end is kept."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        model, forward = self.model, self.model.forward
        model.poison = None

        def poisoned(task, x=None, labels=None):
            outputs = forward(task, x=x, labels=labels)
            if model.poison is not None and model.training:
                outputs["loss"] = outputs["loss"] * model.poison
            return outputs

        model.forward = poisoned


def trainer(folder, *callbacks, **settings):
    train, meta = toy_data()
    args = toy_args(folder, **RUN | settings)
    return PoisonedTrainer(
        model=toy_model(), args=args, train_dataset=train, eval_dataset={"a": meta}, callbacks=list(callbacks)
    )
