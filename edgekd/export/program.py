"""A torch.export program (``.pt2``) as what is exported: its network, and the record it needs."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn

from edgekd.bundle import BUNDLE_FILE, read_record, sha256_of
from edgekd.console import Console
from edgekd.errors import BundleError, ModelError, UsageError
from edgekd.export.program_graph import plain_module
from edgekd.records import ArchSpec, ImageInput, StudentBundle
from edgekd.teachers.normalisation import per_channel, split_options
from edgekd.teachers.program import Program, load_program, only_tensor

FAMILY: Final = "torch-export"
"""In place of a student family: the network is the program itself, not rebuilt from a name."""
PROGRAM_FILE: Final = "program.pt2"

_SUFFIX: Final = ".pt2"
_IMAGENET: Final = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}  # torchvision's
_LARGEST_SIDE: Final = 8192
_ANSWER_AXES: Final = 2
_SAME: Final = 1e-3
_FAILURES: Final = (RuntimeError, ValueError, TypeError, IndexError)


class ProgramNetwork(nn.Module):
    """The network of a program: normalised float ``(B, C, H, W)`` to ``(B, K)``.

    Args:
        graph: What :func:`~edgekd.export.program_graph.plain_module` returned.
        path: Of its file, for messages.
        batch_size: The only batch the graph takes; ``None`` for any. Others are fed one by one.
    """

    def __init__(self, graph: nn.Module, path: Path, *, batch_size: int | None) -> None:
        super().__init__()
        self.graph = graph
        self.path = path
        self.batch_size = batch_size

    def forward(self, x: Tensor) -> Tensor:
        """Answer a batch."""
        if self.batch_size is not None and x.shape[0] != self.batch_size:
            parts = torch.split(x, self.batch_size)
            return torch.cat([only_tensor(self.graph(part), self.path) for part in parts])
        return only_tensor(self.graph(x), self.path)


def is_program(source: Path) -> bool:
    """Whether a source names a ``.pt2`` file, with or without options behind ``#``."""
    return source.suffix == _SUFFIX or str(source).partition("#")[0].endswith(_SUFFIX)


def fixed_batch(arch: ArchSpec) -> int | None:
    """The only batch that a network takes; ``None`` for any, as all but programs do."""
    size: int | None = arch.arguments.get("batch_size") if arch.family == FAMILY else None
    return size


@dataclass(frozen=True, kw_only=True, eq=False)
class OpenedProgram:
    """A program that was found to answer one image with logits.

    Attributes:
        path: Of its file.
        shape: Of its input as the program has it, ``None`` for a dynamic axis.
        image: Its input as it is fed.
        num_classes: ``K``.
    """

    path: Path
    network: ProgramNetwork
    shape: tuple[int | None, ...]
    image: ImageInput
    num_classes: int


def open_program(source: Path, *, input_size: int | None, console: Console) -> OpenedProgram:
    """Open a ``.pt2`` file and ask its network once.

    Args:
        source: Its path, with ``#mean=...#std=...`` of pixels in [0, 1] where it was trained with
            another normalisation than ImageNet's.
        input_size: Height and width, where the program leaves them open.
        console: Hears which normalisation is taken where none is given.

    Raises:
        UsageError: If ``input_size`` is missing, or is not the program's.
        BundleError: If the file is missing, not a saved program, or damaged.
        ModelError: If it could run code, was exported in training mode, takes no image, does not
            answer finite ``(B, K)``, or an option is wrong.
    """
    location, options = split_options(str(source))
    path = Path(location)
    program = load_program(path)
    channels, height, width = _image_shape(program.shape, path, input_size)
    mean, std = _normalisation(options, channels, str(source), console)
    image = ImageInput(
        channels=1 if channels == 1 else 3, height=height, width=width, mean=mean, std=std
    )
    network, num_classes = _probed(program, path, (channels, height, width))
    return OpenedProgram(
        path=path, network=network, shape=program.shape, image=image, num_classes=num_classes
    )


def load_copied_program(folder: Path) -> tuple[StudentBundle, ProgramNetwork]:
    """A record and the network of the program that was copied beside it.

    Raises:
        BundleError: If either is damaged, or they do not belong together.
        ModelError: See :func:`open_program`.
    """
    record = read_record(StudentBundle, folder / BUNDLE_FILE)
    path = folder / PROGRAM_FILE
    if sha256_of(path) != record.weights_sha256:
        raise BundleError(f"{path}: altered after it was copied; export again")
    module = plain_module(load_program(path).module, path)
    return record, ProgramNetwork(module, path, batch_size=fixed_batch(record.arch)).eval()


def _image_shape(
    shape: tuple[int | None, ...], path: Path, input_size: int | None
) -> tuple[int, int, int]:
    channels, *sides = shape[1:]
    if channels not in (1, 3):
        found = "dynamic" if channels is None else channels
        raise ModelError(f"{path}: its channels are {found}; expected (B, C, H, W) with C 1 or 3")
    if input_size is None and None in sides:
        raise UsageError(
            f"{path}: leaves height and width open; give --input-size, the size it was trained at"
        )
    height, width = (input_size if side is None else side for side in sides)
    if (
        height is None
        or width is None
        or not 1 <= min(height, width) <= max(height, width) <= _LARGEST_SIDE
    ):
        raise ModelError(f"{path}: takes {height}x{width} pixels; expected 1 to {_LARGEST_SIDE}")
    if input_size is not None and (height, width) != (input_size, input_size):
        raise UsageError(f"{path}: takes {height}x{width} pixels; leave --input-size out")
    return channels, height, width


def _normalisation(
    options: dict[str, tuple[float, ...]], channels: int, source: str, console: Console
) -> tuple[tuple[float, ...], tuple[float, ...]]:
    usual = {
        key: values if channels == len(values) else (sum(values) / len(values),)
        for key, values in _IMAGENET.items()
    }
    mean, std = per_channel(usual | options, channels=channels, source=source)
    if not options:
        console.info(
            f"{source}: gets ImageNet's normalisation (mean {_listed(mean)}, std {_listed(std)}); "
            f"if it was trained with another one, say {source}#mean=...#std=... (of pixels in 0 "
            "to 1)"
        )
    return mean, std


def _listed(values: tuple[float, ...]) -> str:
    return ",".join(f"{value:g}" for value in values)


@torch.no_grad()
def _probed(
    program: Program, path: Path, shape: tuple[int, int, int]
) -> tuple[ProgramNetwork, int]:
    """The network, after it was seen which batches it takes and what it answers."""
    graph = plain_module(program.module, path)
    two = torch.rand(2, *shape, generator=torch.Generator().manual_seed(0))
    any_batch = ProgramNetwork(graph, path, batch_size=None).eval()
    try:
        one = any_batch(two[:1])
    except _FAILURES as error:
        raise ModelError(
            f"{path}: does not answer a batch of one float32 image of {shape} ({_reason(error)}); "
            "export it with a dynamic batch (dynamic_shapes), or with a batch of one"
        ) from error
    if one.dim() != _ANSWER_AXES or len(one) != 1 or not one.isfinite().all():
        raise ModelError(
            f"{path}: answers shape {tuple(one.shape)} to one image; expected finite (1, K) "
            "logits; export the classifier alone"
        )
    both = torch.cat([one, any_batch(two[1:])])
    fixed = None if _answers(any_batch, two, both) else 1
    return ProgramNetwork(graph, path, batch_size=fixed).eval(), one.shape[1]


def _answers(network: ProgramNetwork, x: Tensor, expected: Tensor) -> bool:
    """Whether a batch gets the answers that its images get alone: no size of one is built in."""
    try:
        found = network(x)
    except _FAILURES:
        return False
    close = found.shape == expected.shape and torch.allclose(
        found, expected, rtol=_SAME, atol=_SAME * float(expected.abs().max())
    )
    return bool(close)


def _reason(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
