"""Images that tell who they are, and a network that answers nothing else.

Sample ``n`` is grey with its number, and one bright corner tells how it was turned. So what a
method remembers and gives back can be read off, whatever order or process it came through.
"""

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.config import TrainRecipe
from edgekd.distill.augment import Augment
from edgekd.distill.batches import Batches
from edgekd.distill.methods.lsskd.branches import LayeredOutput
from edgekd.distill.methods.lsskd.method import LayeredSelfDistillation
from edgekd.distill.methods.protocol import Batch, Run
from edgekd.records import ImageInput
from edgekd.students.build import build_student, parse_student

SAMPLES, CLASSES, VIEWS, BRANCHES = 20, 4, 4, 3
EPOCHS, WEIGHT = 4, 0.8
_SIDE, _UNIT = 8, 64
_SPEC = ImageInput(channels=3, height=_SIDE, width=_SIDE, mean=(0.0,) * 3, std=(1.0,) * 3)


class NumberedImages:
    """The decoded samples, by index."""

    def __init__(self) -> None:
        pixels = np.arange(SAMPLES, dtype=np.uint8)[:, None, None, None]
        self.pixels = np.tile(pixels, (1, _SIDE, _SIDE, 3))
        self.pixels[:, 0, 0] = 255

    def __len__(self) -> int:
        return SAMPLES

    def __getitem__(self, indices):
        return (self.pixels[indices],)


class Oracle(nn.Module):
    """Answers every view with its sample, turn, branch and the present epoch, as probabilities."""

    epoch = 0

    def forward(self, x: Tensor) -> LayeredOutput:
        sample = (x[:, 0, 3, 4] * 255).round()
        # a quarter turn to the left brings what was at the top left to the bottom left
        corners = [x[:, 0, row, column] for row, column in ((0, 0), (-1, 0), (-1, -1), (0, -1))]
        turn = torch.stack(corners, dim=1).argmax(dim=1)
        epoch = torch.full_like(sample, self.epoch)
        joint = [
            _told([sample, epoch, turn, torch.full_like(sample, branch)], CLASSES * VIEWS)
            for branch in range(BRANCHES)
        ]
        return LayeredOutput(
            _told([sample, epoch], CLASSES), tuple(joint), (), (), (None,) * BRANCHES
        )


class Listener:
    """In the place of the objective: keeps what the labels had become."""

    def __init__(self) -> None:
        self.heard = []

    def __call__(self, output, targets, *, epoch):
        self.heard.append(targets)
        return output.logits.sum(), {}


def enrolled(saved=()) -> LayeredSelfDistillation:
    """The method in a run over the samples, before its first or after its last saved step."""
    recipe = TrainRecipe(
        data="x", student="resnet8", method="lsskd", epochs=EPOCHS, batch_size=6,
        soft_labels={"weight": WEIGHT}, lsskd={"transformations": ["rotate"]},
    ).settled(SAMPLES)  # fmt: skip
    method = LayeredSelfDistillation(recipe)
    method.enter(Run(input_shape=_SPEC.shape, steps_per_epoch=3, inputs=(_SPEC,),
                     num_samples=SAMPLES))  # fmt: skip
    if saved:
        method.load_state(saved)
    plan = {"num_classes": CLASSES, "in_channels": 3, "input_size": (_SIDE, _SIDE)}
    method.attach(build_student(parse_student("resnet8", {"width": 4}, **plan)))
    method._objective = Listener()
    return method


def batches(*, rank=0, world_size=1) -> Batches:
    """Shuffled anew every epoch and read ahead by another thread, as a run's are."""
    still = Augment(crop_padding=0, flip=False, erasing=0, fill=(), randaugment=0, mix=None)
    return Batches(
        source=NumberedImages(),
        labels=labels(np.arange(SAMPLES)),
        augment=still,
        batch_size=6,
        seed=3,
        rank=rank,
        world_size=world_size,
        device=torch.device("cpu"),
    )


def labels(samples):
    """Classes 2 and 3: the first half of all probabilities is left for what the oracle tells."""
    return 2 + samples % 2


def train(method, epoch, views):
    """Take the steps; return ``(indices, labels as they had become)`` of each."""
    oracle, seen = Oracle(), []
    oracle.epoch = epoch
    for view in views:
        batch = Batch(inputs=view.inputs, targets=view.targets, indices=view.indices, teacher=None)
        method.losses(oracle, batch)
        method.after_step(oracle)
        seen.append((view.indices, method._objective.heard[-1]))
    return seen


def told(probabilities: Tensor, count: int, *, share: float = 1.0) -> Tensor:
    """``(..., count)`` numbers out of an oracle's answer that has ``share`` of a label."""
    return (probabilities[..., :count] / share * _UNIT).round().long() - 1


def _told(numbers, width: int) -> Tensor:
    """Logits whose probabilities begin with ``(number + 1) / 64`` each."""
    parts = [(number.float() + 1) / _UNIT for number in numbers]
    rest = (1 - sum(parts)) / (width - len(parts))
    return torch.stack([*parts, *[rest] * (width - len(parts))], dim=1).log()
