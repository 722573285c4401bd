"""What a run trains on: the opened data, its pixels, and how they come in batches."""

from dataclasses import dataclass, replace

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from edgekd.config import SettledRecipe, TrainRecipe
from edgekd.console import Console
from edgekd.data.cache import InputSource
from edgekd.data.dataset import Dataset
from edgekd.data.few_labels import keep_labels
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
    """The opened data set, how its samples become inputs, and they themselves, decoded."""

    task: Task
    dataset: Dataset
    preprocess: Preprocess
    sources: dict[SplitName, InputSource]

    @property
    def input_shapes(self) -> list[tuple[int, ...]]:
        """Of every input of the network, without the batch axis."""
        return [spec.shape for spec in self.preprocess.inputs]

    def validate(self, module: nn.Module) -> Metric:
        """The metric that stands for the task, on the validation split."""
        val = self.dataset.splits["val"]
        return evaluate(
            module,
            self.sources["val"],
            val.labels,
            self.preprocess.inputs,
            split="val",
            task=self.task,
            cameras=val.cameras,
            roles=val.roles,
        )

    def score(self, module: nn.Module, split: SplitName) -> tuple[Metric, ...]:
        """The task's metrics of a network on a split, the one that stands for it first."""
        samples = self.dataset.splits[split]
        found = predict(module, self.sources[split], self.preprocess.inputs)
        return metrics_of(
            self.task, found, samples.labels, samples.cameras, samples.roles, split=split
        )


def open_material(recipe: TrainRecipe, console: Console) -> Material:
    """Open the recipe's data and decode what fits into memory.

    Raises:
        DataError: If the data cannot be opened or trained on, or do not suit task or augmentation.
    """
    dataset = open_dataset(recipe, console, task=recipe.task)
    if recipe.label_fraction < 1:
        dataset = keep_labels(dataset, recipe.label_fraction, seed=recipe.seed, console=console)
    if dataset.kind != "image" and recipe.task == "retrieval":
        raise DataError(f"{recipe.data}: holds sensor windows; retrieval is for images")
    table = recipe.augment
    if dataset.kind != "image" and (table.mixup or table.cutmix or table.erasing):
        raise DataError(
            f"{recipe.data}: holds sensor windows; mixup, cutmix and erasing are of images"
        )
    preprocess = suggest_preprocess(dataset, input_size=recipe.input_size, fit=recipe.fit)
    preprocess = pretrained_preprocess(recipe, preprocess)
    specs = preprocess.inputs
    sources = {name: InputSource(samples, specs) for name, samples in dataset.splits.items()}
    return Material(task=recipe.task, dataset=dataset, preprocess=preprocess, sources=sources)


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
        material.preprocess.inputs,
        num_classes=len(material.dataset.train_class_names),
        epochs=recipe.epochs,
    )
    console.info(
        f"{len(train):,} training samples, {recipe.batch_size} a step, learning rate "
        f"{recipe.lr:g}; {augment.describe()}"
    )
    batches = Batches(
        source=material.sources["train"],
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
