"""``edgekd teach``: train or fine-tune from labels alone; the run folder is a teacher."""

from pathlib import Path

import click

from edgekd.cli.extras import needs_extra
from edgekd.cli.options import Flag, example, takes_recipe, takes_terminal
from edgekd.cli.terminal import Terminal
from edgekd.cli.train_flags import TRAIN_FLAGS, show_bundle, takes_run_folder
from edgekd.config import TrainRecipe
from edgekd.errors import UsageError

_MODEL = Flag("student", ("--model",), "What to train: resnet20, resnet18, timm:NAME, ...")


@click.command(
    "teach",
    epilog=example("edgekd teach --data signs.zip --model resnet20 --epochs 10 -o runs/teacher"),
)
@takes_run_folder
@takes_recipe(TrainRecipe, (_MODEL, *TRAIN_FLAGS))
@takes_terminal
def command(
    *, recipe: TrainRecipe, terminal: Terminal, output: Path, resume: bool, overwrite: bool
) -> None:
    """Train or fine-tune a network on your data, from labels alone.

    The output folder is a bundle: 'edgekd distill --teacher FOLDER' learns from it.
    """
    if recipe.teacher is not None or recipe.method != "none":
        raise UsageError(
            f"teach learns from labels alone, the recipe has method {recipe.method!r} and teacher "
            f"{recipe.teacher!r}; use edgekd distill, or take both out of the recipe"
        )
    with needs_extra("train", purpose="train a network"):
        from edgekd.distill.run import distill

    bundle = distill(recipe, output, console=terminal, resume=resume, overwrite=overwrite)
    show_bundle(terminal, bundle, output)
