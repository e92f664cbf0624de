"""The toy's trainer with validation rows and a metric."""

import numpy as np

from support.toy_run import TARGET, RecordingTrainer, toy_args, toy_data, toy_model


def accuracy(prediction):
    return {"accuracy": float(np.mean(prediction.predictions.argmax(-1) == prediction.label_ids))}


def evaluating_trainer(tmp_path, callbacks=None, compute_metrics=accuracy, **settings):
    train, meta = toy_data()
    return RecordingTrainer(
        model=toy_model(),
        args=toy_args(tmp_path, **settings),
        train_dataset=train,
        eval_dataset={TARGET: meta, "b": train["b"]},
        compute_metrics=compute_metrics,
        callbacks=callbacks,
    )
