import errno
import re

import pytest
import torch
from lightning_fabric import Fabric

from edgekd.bundle import CHECKPOINT_FILE
from edgekd.config import TrainRecipe
from edgekd.console import SilentConsole
from edgekd.distill.checkpoint import Checkpoint, write_checkpoint
from edgekd.distill.workspace import (
    alone_in,
    claim_workspace,
    comparable,
    open_workspace,
    thread_counts,
)
from edgekd.errors import ConfigError, OutputError, UsageError

FABRIC = Fabric(accelerator="cpu", devices=1)
RECIPE = TrainRecipe(data="builtin:digits", student="resnet8", epochs=3)


class Warned(SilentConsole):
    def __init__(self):
        self.warnings = []

    def warn(self, text):
        self.warnings.append(text)


def interrupted(folder, recipe=RECIPE, recorded=None):
    claim_workspace(folder, recipe)
    checkpoint = Checkpoint(
        parts={"student": {"w": torch.ones(1)}},
        optimizer={"state": {}, "param_groups": []},
        facts={"recipe": comparable(recipe) if recorded is None else recorded},
    )
    write_checkpoint(folder / CHECKPOINT_FILE, checkpoint)


def test_looking_leaves_no_trace_and_claiming_writes_the_recipe(tmp_path):
    folder = tmp_path / "a" / "b"
    assert open_workspace(folder, RECIPE, resume=False, overwrite=False) is None
    assert not folder.exists()
    claim_workspace(folder, RECIPE)
    assert "epochs = 3" in (folder / "recipe.toml").read_text()


def test_a_second_run_is_kept_out_until_the_first_ends(tmp_path):
    with alone_in(tmp_path, FABRIC):
        message = f"{tmp_path}: another run is training there; wait"
        with pytest.raises(OutputError, match=re.escape(message)), alone_in(tmp_path, FABRIC):
            pass
    with alone_in(tmp_path, FABRIC):
        pass


def test_a_folder_that_was_made_for_nothing_is_removed(tmp_path):
    with pytest.raises(KeyError), alone_in(tmp_path / "a" / "b", FABRIC):
        raise KeyError
    assert not (tmp_path / "a").exists()
    with alone_in(tmp_path / "a" / "b", FABRIC):
        (tmp_path / "a" / "b" / "kept").touch()
    assert (tmp_path / "a" / "b" / "kept").exists()


def test_a_file_system_that_locks_nothing_keeps_nobody_out(tmp_path, monkeypatch):
    def flock(descriptor, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", flock)
    with alone_in(tmp_path, FABRIC), alone_in(tmp_path, FABRIC):
        pass


def test_a_folder_that_cannot_be_made_is_the_users_error(tmp_path):
    (tmp_path / "file").touch()
    with (
        pytest.raises(OutputError, match=r"cannot be written \(Not a directory\)"),
        alone_in(tmp_path / "file" / "run", FABRIC),
    ):
        pass


def test_a_used_folder_needs_a_word(tmp_path):
    interrupted(tmp_path)
    with pytest.raises(OutputError, match="add --resume to continue it, --overwrite"):
        open_workspace(tmp_path, RECIPE, resume=False, overwrite=False)


def test_resume_gives_the_checkpoint_back(tmp_path):
    interrupted(tmp_path)
    checkpoint = open_workspace(tmp_path, RECIPE, resume=True, overwrite=False)
    assert checkpoint.parts["student"]["w"].item() == 1


def test_resume_in_an_empty_folder_starts(tmp_path):
    assert open_workspace(tmp_path, RECIPE, resume=True, overwrite=False) is None


def test_overwrite_discards_the_run_and_nothing_else(tmp_path):
    interrupted(tmp_path)
    (tmp_path / "notes.txt").write_text("mine")
    assert open_workspace(tmp_path, RECIPE, resume=False, overwrite=True) is None
    assert (tmp_path / CHECKPOINT_FILE).exists()  # until the new run begins
    claim_workspace(tmp_path, RECIPE)
    assert not (tmp_path / CHECKPOINT_FILE).exists()
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_resume_and_overwrite_contradict_each_other(tmp_path):
    with pytest.raises(UsageError, match="give one"):
        open_workspace(tmp_path, RECIPE, resume=True, overwrite=True)


def test_another_recipe_is_refused_with_what_differs(tmp_path):
    interrupted(tmp_path)
    other = RECIPE.model_copy(update={"epochs": 5, "lr": 0.2, "num_threads": 1})
    with pytest.raises(ConfigError, match=r"epochs: 3 -> 5; lr: 'auto' -> 0.2") as error:
        open_workspace(tmp_path, other, resume=True, overwrite=False)
    assert "num_threads" not in str(error.value)


def test_a_run_of_an_older_version_goes_on_with_the_defaults_of_what_is_new(tmp_path):
    recorded = comparable(RECIPE)
    del recorded["ema_decay"], recorded["kd"]["temperature"]
    interrupted(tmp_path, recorded=recorded)
    assert open_workspace(tmp_path, RECIPE, resume=True, overwrite=False) is not None
    other = RECIPE.model_copy(update={"ema_decay": 0.9})
    with pytest.raises(ConfigError, match=r"ema_decay: None -> 0.9"):
        open_workspace(tmp_path, other, resume=True, overwrite=False)


def test_a_run_of_a_newer_version_is_another(tmp_path):
    interrupted(tmp_path, recorded=comparable(RECIPE) | {"invented": 1})
    with pytest.raises(ConfigError, match=r"invented: 1 -> None"):
        open_workspace(tmp_path, RECIPE, resume=True, overwrite=False)


@pytest.mark.parametrize(
    ("facts", "counts", "words"),
    [
        (None, (3,), None),  # a fresh run
        ({}, (3,), None),  # of an older version, which did not say
        ({"thread_counts": [3]}, (3,), None),
        ({"thread_counts": [2]}, (2, 3), r"with 2 thread\(s\), this one with 3: .*--threads 2 "),
        ({"thread_counts": [3, 1]}, (3, 1, 3), r"with 1 thread\(s\), this one with 3"),
    ],
)
def test_another_number_of_threads_is_warned_about(facts, counts, words, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    checkpoint = None
    if facts is not None:
        checkpoint = Checkpoint(parts={}, optimizer={}, facts=facts)
    console = Warned()
    assert thread_counts(checkpoint, console) == counts
    assert len(console.warnings) == (words is not None)
    assert all(re.search(words, said) for said in console.warnings)


def test_a_file_in_the_way_is_named(tmp_path):
    path = tmp_path / "out"
    path.write_text("")
    with pytest.raises(OutputError, match="is a file"):
        open_workspace(path, RECIPE, resume=False, overwrite=False)
