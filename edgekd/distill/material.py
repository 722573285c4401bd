"""What a run trains on: the opened data, its pixels, and how they come in batches."""

from dataclasses import dataclass, replace

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from edgekd.config import SettledRecipe, TrainRecipe
from edgekd.console import Console
from edgekd.data.cache import PixelSource
from edgekd.data.dataset import Dataset
from edgekd.data.open import open_dataset
from edgekd.data.preprocess import suggest_preprocess
from edgekd.distill.augment import resolve_augment
from edgekd.distill.batches import Batches
from edgekd.distill.sampling import IdentityBalanced
from edgekd.errors import DataError
from edgekd.evaluate.classification import evaluate, predict
from edgekd.evaluate.metrics import metrics_of
from edgekd.records import Metric, Preprocess, SplitName, Task
from edgekd.students.pretrained import pretrained_preprocess


@dataclass(frozen=True, kw_only=True)
class Material:
    """The opened data set, how its samples become inputs, and its decoded pixels."""

    task: Task
    dataset: Dataset
    preprocess: Preprocess
    pixels: dict[SplitName, PixelSource]

    def validate(self, module: nn.Module) -> Metric:
        """The metric that stands for the task, on the validation split."""
        val, spec = self.dataset.splits["val"], self.preprocess.image
        return evaluate(
            module,
            self.pixels["val"],
            val.labels,
            spec,
            split="val",
            task=self.task,
            cameras=val.cameras,
        )

    def score(self, module: nn.Module, split: SplitName) -> tuple[Metric, ...]:
        """The task's metrics of a network on a split, the one that stands for it first."""
        samples = self.dataset.splits[split]
        found = predict(module, self.pixels[split], self.preprocess.image)
        return metrics_of(self.task, found, samples.labels, samples.cameras, split=split)


def open_material(recipe: TrainRecipe, console: Console) -> Material:
    """Open the recipe's data and decode what fits into memory.

    Raises:
        DataError: If the data cannot be opened or trained on, or holds no images.
    """
    dataset = open_dataset(recipe, console, task=recipe.task)
    if dataset.kind != "image":
        raise DataError(
            f"{recipe.data}: holds sensor windows; the students of this edgekd take images"
        )
    preprocess = suggest_preprocess(dataset, input_size=recipe.input_size, fit=recipe.fit)
    preprocess = pretrained_preprocess(recipe, preprocess)
    spec = preprocess.image
    pixels = {name: PixelSource(samples, spec) for name, samples in dataset.splits.items()}
    return Material(task=recipe.task, dataset=dataset, preprocess=preprocess, pixels=pixels)


def make_batches(
    recipe: SettledRecipe, material: Material, fabric: Fabric, console: Console
) -> Batches:
    """The training split as this process will see it.

    Raises:
        DataError: If there are too few identities to compare.
    """
    train = material.dataset.splits["train"]
    augment = resolve_augment(
        recipe.augment,
        material.preprocess.image,
        num_classes=len(material.dataset.train_class_names),
    )
    console.info(
        f"{len(train):,} training samples, {recipe.batch_size} a step, learning rate "
        f"{recipe.lr:g}; {augment.describe()}"
    )
    batches = Batches(
        pixels=material.pixels["train"],
        labels=train.labels,
        augment=augment,
        batch_size=min(recipe.batch_size, len(train)),
        seed=recipe.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        device=fabric.device,
    )
    if recipe.task == "classification":
        return batches
    sampler = _identity_balanced(recipe, train.labels, fabric, console)
    return replace(batches, sampler=sampler, batch_size=sampler.batch_size)


def _identity_balanced(
    recipe: SettledRecipe, labels: NDArray[np.int64], fabric: Fabric, console: Console
) -> IdentityBalanced:
    plan, found = recipe.retrieval, len(np.unique(labels))
    share = min(plan.identities_per_batch, found) // fabric.world_size
    if share < 2:
        raise DataError(
            f"{found} identities in train for {fabric.world_size} processes, each of which "
            "compares at least two; train in fewer processes"
        )
    sampler = IdentityBalanced(
        labels=labels,
        identities_per_batch=share * fabric.world_size,
        images_per_identity=plan.images_per_identity,
        seed=recipe.seed,
    )
    console.info(
        f"{sampler.identities_per_batch} of {found} identities x {plan.images_per_identity} images "
        f"a step, {sampler.steps_per_epoch} steps an epoch"
    )
    return sampler
