"""What CDD asks of a recipe, said before anything is trained."""

from edgekd.config import SettledRecipe
from edgekd.distill.methods.cdd.schedule import epochs_without_masks
from edgekd.errors import ConfigError, ModelError


def require_trainable(recipe: SettledRecipe) -> None:
    """Refuse a recipe with which no channel could be chosen, or none would go.

    Raises:
        ModelError: If there is no teacher.
        ConfigError: If the optimizer is adaptive, the queue smaller than a batch, or all epochs
            belong to the phase without masks.
    """
    if recipe.teacher is None:
        raise ModelError("method cdd learns from a teacher and none was given: add --teacher")
    if recipe.optimizer != "sgd":
        raise ConfigError(
            f"optimizer = {recipe.optimizer!r}: cdd pulls rows to zero by their gradient's length, "
            "which an adaptive optimizer takes away; use sgd"
        )
    if recipe.cdd.queue_size < recipe.batch_size:
        raise ConfigError(
            f"cdd.queue_size = {recipe.cdd.queue_size}: smaller than batch_size = "
            f"{recipe.batch_size}; the queue holds one batch at least"
        )
    if epochs_without_masks(recipe) >= recipe.epochs:
        raise ConfigError(
            f"cdd.mask_from = {recipe.cdd.mask_from:g}: that is all of the {recipe.epochs} epochs, "
            "so no channel would ever go; give a smaller one, or more epochs"
        )
