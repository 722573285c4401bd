"""The output folder of a run: who may write into it, and what a resumed run must agree on."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import torch
from lightning_fabric import Fabric
from pydantic import ValidationError

from edgekd.atomic import reporting_write_errors, write_atomically
from edgekd.bundle import (
    BUNDLE_FILE,
    CHECKPOINT_FILE,
    RECIPE_FILE,
    TRAINING_HEAD_FILE,
    WEIGHTS_FILE,
)
from edgekd.config import TrainRecipe, to_toml
from edgekd.console import Console
from edgekd.distill.checkpoint import Checkpoint, read_checkpoint
from edgekd.distill.history import EVENTS_FILE, HISTORY_FILE
from edgekd.errors import ConfigError, OutputError, UsageError

_OURS: Final = (
    BUNDLE_FILE,
    WEIGHTS_FILE,
    TRAINING_HEAD_FILE,
    CHECKPOINT_FILE,
    HISTORY_FILE,
    EVENTS_FILE,
    RECIPE_FILE,
)
_MAY_DIFFER: Final = {"checkpoint_minutes", "num_threads"}
"""The first changes no result, the second its last bits: see :func:`thread_counts`."""


@contextmanager
def alone_in(folder: Path, fabric: Fabric) -> Iterator[None]:
    """Let no other run train in ``folder`` meanwhile; the lock ends with this process, however.

    The folder is made where it is missing, and removed again if nothing was put into it.

    Raises:
        OutputError: In all processes of the run, if another run holds it or it cannot be made.
    """
    with ExitStack() as held:
        refusal = None
        if fabric.is_global_zero:
            try:
                held.enter_context(_locked(folder))
            except OutputError as error:
                refusal = str(error)
        refusal = fabric.broadcast(refusal)
        if refusal is not None:
            raise OutputError(refusal)
        yield


def open_workspace(
    folder: Path, recipe: TrainRecipe, *, resume: bool, overwrite: bool
) -> Checkpoint | None:
    """Check that a run may use ``folder`` and return the checkpoint to continue from, if any.

    Nothing is written or deleted: a command that fails before its first step loses nothing.

    Raises:
        UsageError: If both ``resume`` and ``overwrite`` are asked for.
        OutputError: If the folder is a file, or holds a run and neither was asked for.
        ConfigError: If the checkpoint was made by another recipe.
        BundleError: If the checkpoint is damaged.
    """
    if resume and overwrite:
        raise UsageError("--resume continues a run and --overwrite discards it; give one of them")
    _check_contents(folder, resume=resume, overwrite=overwrite)
    checkpoint_file = folder / CHECKPOINT_FILE
    if not resume or not checkpoint_file.exists():
        return None
    checkpoint = read_checkpoint(checkpoint_file)
    _check_same_recipe(folder, checkpoint.facts["recipe"], recipe)
    return checkpoint


def claim_workspace(folder: Path, recipe: TrainRecipe) -> None:
    """Start a run in ``folder``: what an earlier run left is deleted, the recipe is written.

    Raises:
        OutputError: If the folder cannot be written.
    """
    for name in _OURS:
        with reporting_write_errors(folder / name):
            (folder / name).unlink(missing_ok=True)
    write_atomically(folder / RECIPE_FILE, to_toml(recipe).encode())


def comparable(recipe: TrainRecipe) -> dict[str, Any]:
    """The recipe as JSON values, without what a resumed run may change."""
    return recipe.model_dump(mode="json", exclude=_MAY_DIFFER)


def thread_counts(checkpoint: Checkpoint | None, console: Console) -> tuple[int, ...]:
    """With how many threads the run has computed: a number per change, this process's last.

    Args:
        checkpoint: What is continued; its facts hold ``thread_counts`` unless an older version
            wrote it.
        console: Is warned where this process's number is another than that of the one before:
            sums of floats are split by thread, so the weights will not be bit for bit those of an
            undisturbed run.
    """
    before = () if checkpoint is None else tuple(checkpoint.facts.get("thread_counts", ()))
    now = torch.get_num_threads()
    if before and before[-1] == now:
        return before
    if before:
        console.warn(
            f"the interrupted run computed with {before[-1]} thread(s), this one with {now}: its "
            "weights will differ in their last bits from those of an undisturbed run; "
            f"--threads {before[-1]} avoids that"
        )
    return (*before, now)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    if folder.is_file():  # refused by :func:`open_workspace`, with what to do
        yield
        return
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    with reporting_write_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        _lock(descriptor, folder)
        yield
    finally:
        os.close(descriptor)
        for path in made:
            if not path.is_dir() or any(path.iterdir()):
                break
            path.rmdir()


def _lock(descriptor: int, folder: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise OutputError(
            f"{folder}: another run is training there; wait until it ends, or choose another "
            "folder with -o"
        ) from error
    except OSError:
        pass  # some network file systems lock no folders; training there worked without, and does


def _check_contents(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if folder.is_file():
        raise OutputError(f"{folder}: is a file; choose a folder with -o")
    if not folder.is_dir():
        return
    names = {entry.name for entry in folder.iterdir() if not entry.name.startswith(".")}
    if names & set(_OURS) and not (resume or overwrite):
        raise OutputError(
            f"{folder}: holds a run already; add --resume to continue it, --overwrite to replace "
            "it, or choose another folder with -o"
        )


def _check_same_recipe(folder: Path, before: Mapping[str, Any], recipe: TrainRecipe) -> None:
    before, now = _completed(before), comparable(recipe)
    differing = sorted(key for key in {*before, *now} if before.get(key) != now.get(key))
    if differing:
        details = "; ".join(f"{key}: {before.get(key)!r} -> {now.get(key)!r}" for key in differing)
        raise ConfigError(
            f"{folder}: the run there has another recipe ({details}); resume with the same flags, "
            "or start another in a folder of its own"
        )


def _completed(before: Mapping[str, Any]) -> Mapping[str, Any]:
    """A recorded recipe with the defaults of fields that the version of then did not know."""
    try:
        return comparable(TrainRecipe.model_validate_json(json.dumps(dict(before))))
    except ValidationError:  # it holds what this version does not know: that is a difference
        return before
