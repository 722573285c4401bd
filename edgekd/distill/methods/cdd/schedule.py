"""When the two phases of CDD run, and how fast the indicators move."""

from edgekd.config import SettledRecipe
from edgekd.distill.optimization import learning_rate


class Schedule:
    """The steps of a run: the first phase masks nothing, the second one masks and resets.

    Args:
        recipe: Its epochs, rates and ``cdd`` table.
        steps_per_epoch: Of the run.
    """

    def __init__(self, recipe: SettledRecipe, steps_per_epoch: int) -> None:
        self._recipe = recipe
        self._steps_per_epoch = steps_per_epoch
        self.first_masked = epochs_without_masks(recipe) * steps_per_epoch
        self.num_steps = recipe.epochs * steps_per_epoch

    @property
    def momentum(self) -> float:
        """Of the indicators."""
        own = self._recipe.cdd.indicator_momentum
        return self._recipe.momentum if own is None else own

    def rate(self, step: int) -> float:
        """Learning rate of the indicators at a step of the whole run."""
        rate = learning_rate(self._recipe, step, steps_per_epoch=self._steps_per_epoch)
        return rate * self._recipe.cdd.indicator_lr_scale

    def has_masks(self, step: int) -> bool:
        """Whether a step belongs to the second phase."""
        return step >= self.first_masked

    def progress(self, step: int) -> float:
        """Share of the second phase that is over once ``step``, one of its steps, is done."""
        return (step - self.first_masked + 1) / (self.num_steps - self.first_masked)


def epochs_without_masks(recipe: SettledRecipe) -> int:
    """Length of the first phase."""
    return round(recipe.cdd.mask_from * recipe.epochs)
