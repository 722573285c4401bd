"""Bundles of timm architectures with random weights that behave like trained ones.

A fresh network is degenerate: norms are the identity, and residual branches that start at zero
are folded away by a converter, so that it looks absurdly fast. Here every norm gets a random
scale and the statistics of a few forward passes, and parameters that are all zero get values.
"""

import hashlib
from pathlib import Path

import numpy as np
import safetensors.torch
import torch
from torch import nn

from edgekd.bundle import write_bundle
from edgekd.records import DataRef, ImageInput, Preprocess, Provenance, StudentBundle
from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
NUM_CLASSES = 10
BatchNorm = nn.modules.batchnorm._BatchNorm
NORMS = (BatchNorm, nn.LayerNorm, nn.GroupNorm)
SHIFT = 0.5
"""Of what every batch norm makes, in standard deviations. With none a deep random network is
chaotic: white noise on the image, 60 dB below it, is 28 dB below the answers of MobileNetV2
(weights rounded to 8 bits: 17 dB). With this one it is 44 dB (28 dB), as in trained networks:
48 dB (30 dB) in the MobileNetV3 of ``trained.py``."""
LABELS = tuple(f"class{k}" for k in range(NUM_CLASSES))


def make_images(count: int, size: int, *, seed: int) -> np.ndarray:
    """uint8 ``(n, size, size, 3)``: blobs of every scale, as photographs have them."""
    generator = np.random.default_rng(seed)
    images = np.zeros((count, size, size, 3))
    for cells in (2, 4, 8, 16, 32, 64, size):
        coarse = generator.standard_normal((count, 3, cells, cells)) / cells**0.25
        fine = nn.functional.interpolate(
            torch.from_numpy(coarse), size=(size, size), mode="bilinear", align_corners=False
        )
        images += fine.numpy().transpose(0, 2, 3, 1)
    images = images / images.std(axis=(1, 2, 3), keepdims=True)
    brightness = generator.uniform(-0.5, 0.5, (count, 1, 1, 3))
    return np.clip(128 + 55 * (images + brightness), 0, 255).astype(np.uint8)


def write_data(path: Path, size: int) -> Path:
    """An ``.npz`` data set of made-up images; labels are random and only fill the splits."""
    images = make_images(640, size, seed=1)
    labels = np.array(LABELS)[np.arange(len(images)) % NUM_CLASSES]
    np.savez(path, x=images, y=labels)
    return path


def write_architecture(folder: Path, name: str, size: int, *, seed: int = 0) -> None:
    """A bundle of a timm architecture with non-degenerate random weights."""
    torch.manual_seed(seed)
    arch = parse_student(
        f"timm:{name}", {}, num_classes=NUM_CLASSES, in_channels=3, input_size=(size, size)
    )
    network = build_student(arch)
    settle(network, size, seed=seed)
    weights = safetensors.torch.save(
        {k: v.contiguous().clone() for k, v in network.state_dict().items()}
    )
    cost = count_cost(network, [(3, size, size)])
    record = StudentBundle(
        arch=arch,
        preprocess=Preprocess(
            inputs=(ImageInput(channels=3, height=size, width=size, mean=MEAN, std=STD),)
        ),
        labels=LABELS,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        num_params=cost.num_params,
        macs=cost.macs,
        metrics=(),
        provenance=Provenance(
            data=DataRef(source="made up", fingerprint="", num_samples={}),
            teacher=None,
            recipe={},
            seed=seed,
            versions={},
            commit=None,
            machine="",
            num_threads=1,
            precision="fp32",
            train_seconds=0.0,
            created="",
        ),
    )
    folder.mkdir(parents=True, exist_ok=True)
    write_bundle(folder, record, weights)


def settle(network: nn.Module, size: int, *, seed: int) -> None:
    """Random norms with real statistics, no parameter all zero; the network ends in eval mode."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.any() and parameter.ndim == 1:
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=generator))
        for module in network.modules():
            if isinstance(module, NORMS) and module.weight is not None:
                module.weight.copy_(
                    0.8 + 0.4 * torch.rand(module.weight.shape, generator=generator)
                )
            gamma = getattr(module, "gamma", None)  # LayerScale, which starts near zero
            if isinstance(gamma, nn.Parameter):
                gamma.copy_(0.3 + 0.4 * torch.rand(gamma.shape, generator=generator))
            if isinstance(module, BatchNorm):
                module.bias.add_(SHIFT)
        norms = [module for module in network.modules() if isinstance(module, BatchNorm)]
        gather_statistics(network.train(), norms, size)
    network.eval()


def gather_statistics(network: nn.Module, norms: list[BatchNorm], size: int) -> None:
    """Let every BatchNorm see three batches of images."""
    for norm in norms:
        norm.momentum = None  # a plain mean over the passes
        norm.reset_running_stats()
    for step in range(3):
        pixels = torch.from_numpy(make_images(32, size, seed=100 + step)).permute(0, 3, 1, 2)
        mean, std = (torch.tensor(x).view(-1, 1, 1) for x in (MEAN, STD))
        network((pixels / 255 - mean) / std)
    for norm in norms:
        assert norm.running_var is not None
        # a channel that happened to be silent must not shout on the next image
        norm.running_var.clamp_(min=0.05 * float(norm.running_var.mean()))
