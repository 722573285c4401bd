"""One real export of a tiny student, made once: conversion takes tens of seconds."""

import hashlib
from types import SimpleNamespace

import pytest
import safetensors.torch
import torch
from boards import devices_home, entry, fake_ssh, sshd, wheels  # noqa: F401 - fixtures
from tiny_bundle import write_tiny_bundle

from edgekd.bundle import WEIGHTS_FILE, read_bundle, write_bundle
from edgekd.config import ExportRecipe
from edgekd.records import ImageInput, Preprocess

DIGITS = Preprocess(
    inputs=(ImageInput(channels=1, height=8, width=8, mean=(0.305,), std=(0.376,)),)
)
LABELS = tuple("0123456789")


def seeded_norms(module):
    """Give every BatchNorm statistics of its own: a fresh one is the identity and hides errors."""
    generator = torch.Generator().manual_seed(1)
    for part in module.modules():
        if isinstance(part, torch.nn.modules.batchnorm._BatchNorm):
            for tensor, low in (
                (part.weight.data, 0.75),
                (part.bias.data, -0.25),
                (part.running_mean, -0.25),
                (part.running_var, 0.5),
            ):
                tensor.copy_(torch.rand(tensor.shape, generator=generator) * 0.5 + low)
    return module.eval()


def write_student(folder):
    """A bundle of a ResNet-8 of width 4 for the builtin digits; returns its module."""
    module = seeded_norms(write_tiny_bundle(folder, DIGITS, LABELS))
    weights = safetensors.torch.save(module.state_dict())
    record = read_bundle(folder)
    digest = hashlib.sha256(weights).hexdigest()
    (folder / WEIGHTS_FILE).unlink()
    write_bundle(folder, record.model_copy(update={"weights_sha256": digest}), weights)
    return module


@pytest.fixture(scope="session")
def student(tmp_path_factory):
    folder = tmp_path_factory.mktemp("student")
    return SimpleNamespace(folder=folder, module=write_student(folder))


@pytest.fixture(scope="session")
def exported(student, tmp_path_factory):
    """Both formats, fp32 and int8, and the records that came back."""
    from edgekd.export.run import export

    output = tmp_path_factory.mktemp("exported")
    # random weights: near ties between classes, so agreement is not what is tested here
    recipe = ExportRecipe(
        data="builtin:digits",
        int8="full",
        num_calibration=64,
        num_parity=40,
        min_agreement=0.5,
        max_drop_points=100.0,
    )
    models = export(student.folder, output, recipe)
    return SimpleNamespace(folder=output, models={model.file: model for model in models})
