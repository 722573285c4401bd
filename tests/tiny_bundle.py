"""A bundle of a narrow ResNet-8 with random weights, and the module in it."""

import hashlib
from pathlib import Path

import safetensors.torch
import torch
from torch import nn

from edgekd.bundle import write_bundle
from edgekd.records import ArchSpec, DataRef, Preprocess, Provenance, StudentBundle
from edgekd.students.build import build_student, parse_student
from edgekd.students.count import count_cost
from edgekd.students.head import IdentityNetwork, head_tensors


def write_tiny_bundle(
    folder: Path,
    preprocess: Preprocess,
    labels: tuple[str, ...],
    *,
    embedding_dim: int | None = None,
):
    """Write the bundle to ``folder`` and return its module in eval mode.

    With ``embedding_dim`` it is one for retrieval, and the module returned is the network with its
    identity classifier.
    """
    image = preprocess.image
    torch.manual_seed(0)
    arch = parse_student(
        "resnet8",
        {"width": 4},
        num_classes=len(labels),
        in_channels=image.channels,
        input_size=(image.height, image.width),
        embedding_dim=embedding_dim,
    )
    module = build_student(arch).eval()
    whole, head = module, None
    if embedding_dim is not None:
        whole = IdentityNetwork(module, len(labels)).eval()
        head = safetensors.torch.save(head_tensors(whole))
    write_bundle_of(folder, arch, module, preprocess, labels, head=head)
    return whole


def write_bundle_of(
    folder: Path,
    arch: ArchSpec,
    module: nn.Module,
    preprocess: Preprocess,
    labels: tuple[str, ...],
    *,
    head: bytes | None = None,
) -> None:
    """Write a network as it is, with a record that says nothing about its training."""
    weights = safetensors.torch.save(module.state_dict())
    cost = count_cost(module, [spec.shape for spec in preprocess.inputs])
    record = StudentBundle(
        task="classification" if head is None else "retrieval",
        training_head_sha256=None if head is None else hashlib.sha256(head).hexdigest(),
        arch=arch,
        preprocess=preprocess,
        labels=labels,
        weights_sha256=hashlib.sha256(weights).hexdigest(),
        num_params=cost.num_params,
        macs=cost.macs,
        metrics=(),
        provenance=Provenance(
            data=DataRef(source="x", fingerprint="", num_samples={}),
            teacher=None,
            recipe={},
            seed=0,
            versions={},
            commit=None,
            machine="x",
            num_threads=1,
            precision="fp32",
            train_seconds=0.0,
            created="x",
        ),
    )
    write_bundle(folder, record, weights, training_head=head)
