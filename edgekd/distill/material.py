"""What a run trains on: the opened data, its pixels, and how they come in batches."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import nn

from edgekd.config import AugmentRecipe, SettledRecipe, TrainRecipe
from edgekd.console import Console
from edgekd.data.cache import InputSource
from edgekd.data.checks import tell_singles
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
from edgekd.records import ImageInput, InputSpec, Metric, Preprocess, SignalInput, SplitName, Task
from edgekd.students.pretrained import pretrained_preprocess

_OFF: Final = {"flip": (False,), "crop_padding": (0,)}


@dataclass(frozen=True, kw_only=True)
class Material:
    """The opened data set, how its samples become inputs, and they themselves, decoded."""

    task: Task
    dataset: Dataset
    preprocess: Preprocess
    sources: dict[SplitName, InputSource]
    console: Console
    """Shows how far scoring is."""

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
            console=self.console,
        )

    def score(self, module: nn.Module, split: SplitName) -> tuple[Metric, ...]:
        """The task's metrics of a network on a split, the one that stands for it first."""
        samples = self.dataset.splits[split]
        found = predict(
            module,
            self.sources[split],
            self.preprocess.inputs,
            console=self.console,
            description=f"Scoring {split}",
        )
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
        left = dataset.splits["train"].labels
        tell_singles(left, dataset.class_names, recipe.task, console)
    if dataset.kind != "image" and recipe.task == "retrieval":
        raise DataError(f"{recipe.data}: holds sensor windows; retrieval is for images")
    _check_image_settings(recipe, dataset)
    preprocess = suggest_preprocess(dataset, input_size=recipe.input_size, fit=recipe.fit)
    preprocess = pretrained_preprocess(recipe, preprocess)
    specs = preprocess.inputs
    return Material(
        task=recipe.task,
        dataset=dataset,
        preprocess=preprocess,
        sources=open_sources(dataset, specs, console),
        console=console,
    )


def open_sources(
    dataset: Dataset, specs: Sequence[InputSpec], console: Console
) -> dict[SplitName, InputSource]:
    """The samples of every split; what fits into memory is decoded now.

    Raises:
        DataError: If a file cannot be read any more, or the data lack an input.
    """
    return {
        name: InputSource(samples, specs, console=console)
        for name, samples in dataset.splits.items()
    }


def _check_image_settings(recipe: TrainRecipe, dataset: Dataset) -> None:
    """Refuse what would be done to images where there are none, or not images alone."""
    table, found = recipe.augment, f"{recipe.data}: holds sensor windows"
    if dataset.kind == "mixed" and (table.mixup or table.cutmix or table.erasing):
        raise DataError(f"{found} too; mixup, cutmix and erasing are for images alone")
    asked = _asked_of_images(recipe) if dataset.kind == "signal" else []
    if asked:
        raise DataError(f"{found} alone; take out what is for images: {', '.join(asked)}")


def _asked_of_images(recipe: TrainRecipe) -> list[str]:
    """Keys of settings that sensor windows do not have; what is said to be off may stay."""
    asked = [
        key
        for key in ("input_size", "fit")
        if getattr(recipe, key) != TrainRecipe.model_fields[key].default
    ]
    for key, field in AugmentRecipe.model_fields.items():
        if getattr(recipe.augment, key) not in (field.default, *_OFF.get(key, ())):
            asked.append(f"augment.{key}")
    return asked


def make_batches(
    recipe: SettledRecipe, material: Material, fabric: Fabric, console: Console
) -> Batches:
    """The training split as this process will see it.

    Raises:
        DataError: If there are too few identities to compare, or vectors to normalise.
    """
    train = material.dataset.splits["train"]
    size = min(recipe.batch_size, len(train))
    _require_two_vectors(material.preprocess.inputs, size // fabric.world_size)
    augment = resolve_augment(
        recipe.augment,
        material.preprocess.inputs,
        num_classes=len(material.dataset.train_class_names),
        epochs=recipe.epochs,
    )
    images = any(isinstance(spec, ImageInput) for spec in material.preprocess.inputs)
    console.info(
        f"{len(train):,} training samples, {size} a step, learning rate {recipe.lr:g}"
        f"{f'; {augment.describe()}' if images else ''}"
    )
    batches = Batches(
        source=material.sources["train"],
        labels=train.labels,
        augment=augment,
        batch_size=size,
        seed=recipe.seed,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
        device=fabric.device,
    )
    if recipe.task == "classification":
        return batches
    sampler = _identity_balanced(recipe, train.labels, fabric, console)
    return replace(batches, sampler=sampler, batch_size=sampler.batch_size)


def _require_two_vectors(inputs: Sequence[InputSpec], share: int) -> None:
    """Refuse to normalise a vector over a batch of itself alone."""
    vectors = [x.name for x in inputs if isinstance(x, SignalInput) and x.length == 1]
    if vectors and share < 2:
        raise DataError(
            f"{share} sample(s) a step for each process, and {vectors[0]!r} has one time step: a "
            "norm over one number is not defined; give --batch-size 2 or more for each process"
        )


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
    steps = sampler.steps_per_epoch
    console.info(
        f"{sampler.identities_per_batch} of {found} identities x {plan.images_per_identity} images "
        f"a step, {steps} step{'s' * (steps != 1)} an epoch"
    )
    return sampler
