"""Pushes to a stand-in of the Hub, over HTTP: what lies there is downloaded and predicts as the trained model does."""

from pathlib import Path

import pytest
import torch
from huggingface_hub import ModelCard, snapshot_download
from safetensors.torch import load_file
from transformers import (
    AutoModelForMultipleChoice,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerCallback,
    pipeline,
)

from hf_alphavil import MultitaskModel
from support.bert_run import adapted, bert_trainer
from support.hub_server import TOKEN, HubServer, hub_at
from support.kinds_run import WORDS, kinds_trainer
from support.toy_run import toy_trainer

PUSH = {"push_to_hub": True, "hub_model_id": "someone/model"}
SAVES = PUSH | {"save_strategy": "epoch", "num_train_epochs": 2}
TEXTS = [" ".join(WORDS[:4]), " ".join(WORDS[9:11])]


@pytest.fixture
def hub(tmp_path):
    server = HubServer()
    with hub_at(server.endpoint, tmp_path / "cache"):
        yield server
    server.close()


def untrained(output_dir, **settings):
    """The weights of a new model are as good as any."""
    trainer = kinds_trainer(output_dir, dropout=0.0, **PUSH | settings)
    trainer.model.eval()
    return trainer


def trained(output_dir, **settings):
    defaults = {"target": "pair", "alpha_steps": 1, "leave_out": ("tags", "score", "quiz", "prose", "other")}
    resumes, callbacks = settings.pop("resume_from_checkpoint", None), settings.pop("callbacks", ())
    trainer = untrained(output_dir, **defaults | settings)
    for callback in callbacks:
        trainer.add_callback(callback)
    trainer.train(resume_from_checkpoint=resumes)
    trainer.model.eval()
    return trainer


def test_pipeline_runs_the_root_and_the_multitask_model_lies_beneath(hub, tmp_path):
    trainer = untrained(tmp_path / "run", target="names", hub_private_repo=True)
    pushed = trainer.push_to_hub()
    assert str(pushed.repo_url) == f"{hub.endpoint}/someone/model"  # what `alphavil train` prints
    assert hub.repositories["someone/model"].private
    card = ModelCard(hub.files("someone/model")["README.md"].decode())
    assert (card.data.library_name, card.data.pipeline_tag) == ("transformers", "token-classification")

    tag = pipeline("token-classification", "someone/model", aggregation_strategy="none", ignore_labels=[])
    assert type(tag.model).__module__.startswith("transformers.")
    tokens = trainer.processing_class(TEXTS[0], return_tensors="pt")
    expected = trainer.model("names", **tokens).logits[0, 1:-1].softmax(-1).max(-1)
    assert [word["entity"] for word in tag(TEXTS[0])] == [
        tag.model.config.id2label[i] for i in expected.indices.tolist()
    ]
    torch.testing.assert_close(torch.tensor([word["score"].item() for word in tag(TEXTS[0])]), expected.values)

    whole = MultitaskModel.from_pretrained("someone/model", subfolder="multitask")
    tokens = AutoTokenizer.from_pretrained("someone/model", subfolder="multitask")(
        TEXTS, padding=True, return_tensors="pt"
    )
    for task in ("pair", "score", "names"):
        torch.testing.assert_close(whole(task, **tokens).logits, trainer.model(task, **tokens).logits)


@pytest.mark.parametrize("target", ["pair", "score", "prose"])
def test_the_tag_of_the_card_is_the_pipeline_that_runs(hub, tmp_path, target):
    trainer = untrained(tmp_path / "run", target=target)
    trainer.push_to_hub()
    tag = ModelCard(hub.files("someone/model")["README.md"].decode()).data.pipeline_tag
    run = pipeline(tag, "someone/model")
    text = "w1 [MASK] w3" if target == "prose" else TEXTS[0]
    tokens = trainer.processing_class(text, return_tensors="pt")
    logits = trainer.model(target, **tokens).logits
    torch.testing.assert_close(run.model(**tokens).logits, logits)
    assert run(text)


def test_a_multiple_choice_is_an_ordinary_model_without_a_pipeline(hub, tmp_path):
    trainer = untrained(tmp_path / "run", target="quiz")
    trainer.push_to_hub()
    card = ModelCard(hub.files("someone/model")["README.md"].decode())
    assert card.data.pipeline_tag is None
    assert 'AutoModelForMultipleChoice.from_pretrained("someone/model")' in card.text
    tokens = trainer.processing_class(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: value[None] for name, value in tokens.items()}
    found = AutoModelForMultipleChoice.from_pretrained("someone/model")(**inputs).logits
    torch.testing.assert_close(found, trainer.model("quiz", **inputs).logits)


def test_the_multitask_model_alone(hub, tmp_path):
    trainer = untrained(tmp_path / "run", hub_export="multitask")
    trainer.push_to_hub()
    card = ModelCard(hub.files("someone/model")["README.md"].decode())
    assert (card.data.library_name, card.data.pipeline_tag) == ("hf_alphavil", None)
    assert not any(path.startswith("multitask/") for path in hub.files("someone/model"))
    tokens = AutoTokenizer.from_pretrained("someone/model")(TEXTS, padding=True, return_tensors="pt")
    whole = MultitaskModel.from_pretrained("someone/model")
    torch.testing.assert_close(whole("names", **tokens).logits, trainer.model("names", **tokens).logits)


STRATEGIES = {
    # The commits besides the last one, and the folders of checkpoints that the repository holds.
    "end": ([], set()),
    "every_save": (["Training in progress, epoch 1", "Training in progress, epoch 2"], set()),
    "checkpoint": (
        [f"Training in progress, epoch {epoch}{what}" for epoch in (1, 2) for what in ("", ", checkpoint")],
        {"last-checkpoint"},
    ),
    "all_checkpoints": (
        [f"Training in progress, epoch {epoch}{what}" for epoch in (1, 2) for what in ("", ", checkpoint")],
        {"checkpoint-12", "checkpoint-24"},
    ),
}


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_leaves_the_same_page_and_its_checkpoints(hub, tmp_path, strategy):
    run, branch = tmp_path / "run", "trial" if strategy == "every_save" else "main"
    settings = SAVES | {"hub_strategy": strategy, "hub_always_push": True, "hub_token": TOKEN, "save_total_limit": 1}
    trainer = trained(run, **settings, **({} if branch == "main" else {"hub_revision": branch}))
    during, checkpoints = STRATEGIES[strategy]
    assert hub.messages("someone/model", branch) == during
    tokens = trainer.processing_class(TEXTS, padding=True, return_tensors="pt")
    logits = trainer.model("pair", **tokens).logits
    for commit in hub.repositories["someone/model"].branches[branch][1:]:
        assert {"config.json", "model.safetensors", "tokenizer.json", "README.md"} <= set(commit.files)

    def pushed_logits():
        return pipeline("text-classification", "someone/model", revision=branch).model(**tokens).logits

    if during:
        torch.testing.assert_close(pushed_logits(), logits)
    trainer.push_to_hub()
    torch.testing.assert_close(pushed_logits(), logits)
    assert hub.messages("someone/model", branch)[: len(during)] == during
    files = hub.files("someone/model", branch)
    assert {path.split("/")[0] for path in files if "checkpoint" in path} == checkpoints
    page = {path for path in files if "checkpoint" not in path}
    assert {path for path in page if path.startswith("multitask/")} == {
        f"multitask/{name}" for name in ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
    }
    assert not any(str(tmp_path).encode() in files[path] for path in page)
    assert not any(TOKEN.encode() in content for content in files.values())
    assert not (run / "_push").exists()
    words = 'add `revision="trial"` to each call'
    assert (words in files["README.md"].decode()) == (branch == "trial")
    assert branch == "main" or hub.messages("someone/model") == []
    if strategy == "checkpoint":
        folder = Path(snapshot_download("someone/model", allow_patterns="last-checkpoint/*"), "last-checkpoint")
        mine = {file.name for file in (run / "checkpoint-24").iterdir()}
        assert {file.name for file in folder.iterdir()} == mine
        resumed = trained(tmp_path / "other", num_train_epochs=2, push_to_hub=False, resume_from_checkpoint=folder)
        assert resumed.history == trainer.history


def test_a_push_that_runs_delays_no_training(hub, tmp_path):
    """Without `hub_always_push`, checkpoints are not pushed while a push runs."""
    hub.before_commit.clear()
    trained(tmp_path / "run", callbacks=[Release(hub)], **SAVES | {"num_train_epochs": 3})
    assert hub.messages("someone/model") == ["Training in progress, epoch 1"]


class Release(TrainerCallback):
    """Lets the Hub commit once training ends."""

    def __init__(self, hub):
        self.hub = hub

    def on_train_end(self, args, state, control, **kwargs):
        self.hub.before_commit.set()


@pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing` is deprecated:FutureWarning")
def test_adapters_are_merged_in(hub, tmp_path):
    trainer = bert_trainer(tmp_path / "run", model=adapted(), num_train_epochs=1, **PUSH)
    trainer.train()
    trainer.model.eval()
    trainer.push_to_hub()
    ids = torch.arange(6)[None]
    expected = trainer.model(task="a", input_ids=ids).logits
    for found in (
        AutoModelForSequenceClassification.from_pretrained("someone/model")(ids).logits,
        MultitaskModel.from_pretrained("someone/model", subfolder="multitask")("a", ids).logits,
    ):
        torch.testing.assert_close(found, expected)


def test_a_module_of_your_own(hub, tmp_path, caplog):
    """`save_model` pushes, as in Trainer, and `push_to_hub` passes its words to the card."""
    trainer = toy_trainer(tmp_path / "model", push_to_hub=True, num_train_epochs=1)
    trainer.train()
    trainer.save_model()
    trainer.push_to_hub("Mine", tags=["mine"], license="mit", finetuned_from="someone/base", tasks="rte")
    assert hub.messages("someone/model") == ["Model save", "Mine"]
    card = ModelCard(hub.files("someone/model")["README.md"].decode())
    assert (card.data.license, card.data.base_model, card.data.library_name) == ("mit", "someone/base", "hf_alphavil")
    assert {"mine", "alphavil"} <= set(card.data.tags)
    assert "so tasks has no effect" in caplog.text
    weights = load_file(Path(snapshot_download("someone/model"), "model.safetensors"))
    for name, parameter in trainer.model.named_parameters():
        assert torch.equal(parameter, weights[name])


def test_only_a_multitask_model_has_a_target_to_export(tmp_path):
    with pytest.raises(ValueError, match="hub_export='target': pass 'multitask' or leave it out"):
        toy_trainer(tmp_path, hub_export="target")


def test_a_push_that_is_not_waited_for(hub, tmp_path):
    trainer = untrained(tmp_path / "run")
    pushed = trainer.push_to_hub(blocking=False)
    assert pushed.result().commit_url.startswith(hub.endpoint)
    assert hub.messages("someone/model") == ["End of training"]


def test_what_the_repository_held_is_replaced_and_the_rest_stays(hub, tmp_path):
    hub.add("someone/model", {"README.md": b"Edited by hand", "notes.txt": b"mine"})
    untrained(tmp_path / "run").push_to_hub()
    files = hub.files("someone/model")
    assert files["notes.txt"] == b"mine"
    assert files["README.md"].startswith(b"---")
