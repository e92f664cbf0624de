"""In plain mode checkpoints are those of stock Trainer: same files and resumed runs, and either class resumes them."""

from pathlib import Path

import pytest
from transformers import Trainer, TrainingArguments

from hf_alphavil import MultitaskTrainer
from support.plain_harness import Side, assert_same, differences, file_content, files_of
from support.plain_toys import SentenceStream, sentences

# 22 rows in batches of 2, two to a step: 6 steps an epoch, the last with one batch. Step 6 is an epoch's end.
SETTINGS = {
    "per_device_train_batch_size": 2, "gradient_accumulation_steps": 2, "save_strategy": "steps", "save_steps": 2,
}  # fmt: skip


@pytest.mark.parametrize("step", [2, 6, 8])
def test_resume_equals_stock(step: int, tmp_path: Path) -> None:
    def run(side: Side) -> Trainer:
        side.trainer(SETTINGS).train()
        trainer = side.trainer(SETTINGS)
        side.notes["output"] = tuple(trainer.train(resume_from_checkpoint=str(side.folder / f"checkpoint-{step}")))
        return trainer

    assert_same(run, tmp_path)


@pytest.mark.parametrize("data", ["list", "stream"])
def test_resume_of_the_last_checkpoint_equals_stock(data: str, tmp_path: Path) -> None:
    settings = SETTINGS | {"max_steps": 9, "ignore_data_skip": data == "list"}

    def run(side: Side) -> Trainer:
        def trainer() -> Trainer:
            return side.trainer(settings, train_dataset=sentences(22) if data == "list" else SentenceStream(22))

        trainer().train()
        resumed = trainer()
        side.notes["output"] = tuple(resumed.train(True))
        return resumed

    assert_same(run, tmp_path)


@pytest.mark.parametrize(("first", "second"), [(Trainer, MultitaskTrainer), (MultitaskTrainer, Trainer)])
def test_each_resumes_the_others_checkpoint(first: type, second: type, tmp_path: Path) -> None:
    whole = Side(first, TrainingArguments, tmp_path)
    started = whole.trainer(SETTINGS)
    started.train()
    resumed = whole.trainer(SETTINGS, cls=second)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-8"))
    assert not differences(started.model.state_dict(), resumed.model.state_dict())


def test_checkpoint_holds_only_stock_files(tmp_path: Path) -> None:
    """Written out, so that a file which stock should come to write as well does not hide one of ours."""
    Side(MultitaskTrainer, TrainingArguments, tmp_path).trainer(SETTINGS).train()
    checkpoint = tmp_path / "checkpoint-12"
    assert {file.name for file in files_of(checkpoint)} == {
        "config.json", "model.safetensors", "optimizer.pt", "rng_state.pth", "scheduler.pt", "trainer_state.json",
        "training_args.bin",
    }  # fmt: skip
    assert set(file_content(checkpoint / "trainer_state.json")["stateful_callbacks"]) == {"TrainerControl"}
