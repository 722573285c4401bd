"""What ``edgekd export`` takes besides a bundle: a timm network, a torch.export program."""

import hashlib
import shutil
from pathlib import Path
from typing import Final

import safetensors.torch

from edgekd.bundle import BUNDLE_FILE, is_bundle, sha256_of, to_json, write_bundle
from edgekd.config import ExportRecipe
from edgekd.console import Console
from edgekd.data.open import open_dataset
from edgekd.errors import DataError, ModelError, UsageError
from edgekd.export.program import FAMILY, PROGRAM_FILE, is_program, open_program
from edgekd.records import (
    ArchSpec,
    DataRef,
    ImageInput,
    Preprocess,
    Provenance,
    StudentBundle,
)
from edgekd.students import timm_family
from edgekd.students.count import count_cost
from edgekd.students.timm_weights import ends_of
from edgekd.students.weights import load_weights, refuse_pickle

_PREFIX: Final = "timm:"


def bundle_of(source: Path, recipe: ExportRecipe, work: Path, console: Console) -> Path:
    """The folder of the bundle to export: ``source`` itself, or one made of what it names.

    Args:
        source: A bundle folder, ``timm:NAME@weights.safetensors``, or ``model.pt2``, which may
            carry its normalisation: ``model.pt2#mean=0.5#std=0.5``.
        recipe: Whose data names the classes, and whose ``input_size`` the network was trained at.
        work: Scratch folder, where a bundle is made.
        console: Hears about the data.

    Raises:
        UsageError: If ``input_size`` is given with a bundle, or a timm name without weights.
        ModelError: If the name is unknown, the weights do not fit the architecture, or a program
            cannot be exported.
        BundleError: If the weights file or the program is damaged.
        DataError: If the data has another number of classes.
    """
    text = str(source)
    if is_program(source) and not is_bundle(source):
        return _program_bundle(source, recipe, work / "bundle", console)
    if not text.startswith(_PREFIX):
        if recipe.input_size is not None:
            raise UsageError("--input-size is for timm:NAME@FILE; a bundle knows its own size")
        if source.is_file():
            refuse_pickle(source)
        return source
    name, at, file = text.partition("@")
    if not at or not file:
        raise UsageError(
            f"{text}: an untrained network is nothing to export; give "
            f"{name}@weights.safetensors, or a bundle folder"
        )
    record, weights = _finished(timm_family.known_name(name), Path(file), recipe, console)
    folder = work / "bundle"
    folder.mkdir()
    write_bundle(folder, record, weights)
    return folder


def _program_bundle(source: Path, recipe: ExportRecipe, folder: Path, console: Console) -> Path:
    """A folder with a copy of a program, and the record that a bundle would have."""
    opened = open_program(source, input_size=recipe.input_size, console=console)
    batch_size = opened.network.batch_size
    arch = ArchSpec(
        family=FAMILY,
        arguments={} if batch_size is None else {"batch_size": batch_size},
        num_classes=opened.num_classes,
        in_channels=opened.image.channels,
    )
    cost = count_cost(opened.network, [opened.image.shape])
    console.info(f"{opened.path.name}: {cost.text}")
    record = StudentBundle(
        arch=arch,
        preprocess=Preprocess(inputs=(opened.image,)),
        labels=_labels(arch, opened.path, recipe, console),
        weights_sha256=sha256_of(opened.path),
        num_params=cost.num_params,
        macs=cost.macs,
        uncounted_operators=cost.uncounted_operators,
        metrics=(),
        provenance=_unknown_provenance(str(source)),
    )
    folder.mkdir()
    shutil.copyfile(opened.path, folder / PROGRAM_FILE)
    (folder / BUNDLE_FILE).write_bytes(to_json(record))
    return folder


def _finished(
    name: str, path: Path, recipe: ExportRecipe, console: Console
) -> tuple[StudentBundle, bytes]:
    mean, std, usual = timm_family.timm_preprocess(name)
    size = usual if recipe.input_size is None else (recipe.input_size, recipe.input_size)
    arch = _arch(name, path, size)
    if arch.in_channels == 1:
        mean, std = (sum(mean) / len(mean),), (sum(std) / len(std),)
    network = timm_family.build(arch)
    load_weights(network, path, console=console)
    weights = safetensors.torch.save({k: v.contiguous() for k, v in network.state_dict().items()})
    cost = count_cost(network, [(arch.in_channels, *size)])
    console.info(f"{_PREFIX}{name}: {cost.text}")
    image = ImageInput(
        channels=1 if arch.in_channels == 1 else 3,
        height=size[0],
        width=size[1],
        mean=mean,
        std=std,
    )
    record = StudentBundle(
        arch=arch,
        preprocess=Preprocess(inputs=(image,)),
        labels=_labels(arch, path, recipe, console),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        num_params=cost.num_params,
        macs=cost.macs,
        uncounted_operators=cost.uncounted_operators,
        metrics=(),
        provenance=_unknown_provenance(f"{_PREFIX}{name}"),
    )
    return record, weights


def _arch(name: str, path: Path, size: tuple[int, int]) -> ArchSpec:
    """Classes and input channels as the weights file has them."""
    ends = ends_of(name, path)
    if ends.num_classes is None:
        raise ModelError(f"{path}: holds no classifier of timm:{name}; only classifiers export")
    if ends.in_channels not in (1, 3):
        raise ModelError(f"{path}: takes {ends.in_channels} input channels; images have 1 or 3")
    return timm_family.parse(
        name,
        {},
        num_classes=ends.num_classes,
        in_channels=ends.in_channels,
        input_size=size,
    )


def _labels(arch: ArchSpec, path: Path, recipe: ExportRecipe, console: Console) -> tuple[str, ...]:
    if recipe.data is None:
        return tuple(str(k) for k in range(arch.num_classes))
    dataset = open_dataset(recipe, console, task="classification")
    names = dataset.train_class_names
    if len(names) != arch.num_classes:
        raise DataError(
            f"{dataset.source}: has {len(names)} classes, {path} classifies {arch.num_classes}; "
            "give the data it was trained on"
        )
    return tuple(names)


def _unknown_provenance(source: str) -> Provenance:
    """Nothing is known about how the weights were trained, and nothing is made up."""
    return Provenance(
        data=DataRef(source="unknown", fingerprint="", num_samples={}),
        teacher=None,
        recipe={"source": source},
        seed=0,
        versions={},
        commit=None,
        machine="unknown",
        num_threads=1,
        precision="fp32",
        train_seconds=0.0,
        created="unknown",
    )
