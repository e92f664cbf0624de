"""The progress bar: the phase, and the last α step."""

import pytest

from hf_alphavil.run.progress import PlanProgressCallback, alpha_progress
from support.toy_run import toy_args, toy_trainer


def test_progress_bar_names_phase_and_alpha_step(tmp_path):
    shown = []

    class Recorder(PlanProgressCallback):
        def show(self, text):
            shown.append(text)

    trainer = toy_trainer(tmp_path, num_train_epochs=1, disable_tqdm=False)
    callbacks = trainer.callback_handler.callbacks
    (i,) = [i for i, callback in enumerate(callbacks) if isinstance(callback, PlanProgressCallback)]
    callbacks[i] = Recorder()
    trainer.train()
    assert shown[:2] == ["a 1/5", "a 2/5"]
    assert shown[-5:] == [f"α {step}/5" for step in range(1, 6)]


@pytest.mark.parametrize(
    ("settings", "shown"),
    [
        ({"alphavil_preset": "joint"}, "α 2"),
        ({"alpha_optimizer": "lbfgs"}, "α 2"),
        ({"alpha_tolerance": 0.1}, "α 2"),
        ({"alpha_optimizer": "gradient_free"}, "α 2/5"),
    ],
)
def test_the_last_alpha_step_is_shown_where_it_is_known(tmp_path, settings, shown):
    assert alpha_progress(toy_args(tmp_path, **settings), 2) == shown
