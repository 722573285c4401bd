"""A teacher that is a file of another tool: a function from input to answers, nothing more."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Self

import torch
from torch import Tensor

from edgekd.errors import ModelError
from edgekd.records import TeacherRef
from edgekd.teachers.encode import ViewEncoder
from edgekd.teachers.normalisation import per_channel
from edgekd.teachers.protocol import Capability, TeacherOutput
from edgekd.teachers.request import TeacherRequest

_PROBES: Final = 4  # views asked to see what a file answers
_TINY: Final = 1e-12  # below the smallest probability that matters in float32


@dataclass(frozen=True, kw_only=True)
class Network:
    """What a kind of file has to say about itself.

    Attributes:
        run: Encoded ``(B, C, H, W)`` float32 to ``(B, K)``, on the device it was moved to.
        encoder: What its input is.
        batch_size: The only batch it takes; ``None`` for any.
        move: Puts it on a device; ``None`` if it stays on the CPU.
    """

    run: Callable[[Tensor], Tensor]
    encoder: ViewEncoder
    batch_size: int | None = None
    move: Callable[[torch.device], object] | None = None


class FileTeacher:
    """Logits of a file that edgekd did not make.

    A file that ends in a softmax answers probabilities. Their logarithm is the logits up to a
    constant per row, and a tempered softmax does not see such a constant: so it is taken.

    Raises:
        ModelError: If the file does not run on a view, or answers anything but finite ``(B, K)``.
    """

    def __init__(self, network: Network, *, ref: TeacherRef, request: TeacherRequest) -> None:
        self._network = network
        self._device = torch.device("cpu")
        self._gives_probabilities = False
        self.ref = ref
        self.gives: frozenset[Capability] = frozenset({"logits"})
        answers = self._probe(request)
        self.num_classes = answers.shape[1]
        self._gives_probabilities = _are_probabilities(answers)
        if self._gives_probabilities:
            request.console.info(
                f"teacher {ref.source}: answers probabilities; their logarithm is used as logits"
            )

    def to(self, device: torch.device) -> Self:
        """Move the network if its kind can; answers come back on the view's device anyway."""
        if self._network.move is not None:
            self._network.move(device)
            self._device = device
        return self

    @torch.no_grad()
    def __call__(self, *views: Tensor) -> TeacherOutput:
        """Answer the view of one image; see :class:`~edgekd.teachers.protocol.Teacher`."""
        (view,) = views
        with torch.autocast(view.device.type, enabled=False):  # a file keeps its own precision
            answers = self._answer(self._network.encoder(view.to(self._device)))
        logits = answers.clamp_min(_TINY).log() if self._gives_probabilities else answers
        return TeacherOutput(logits=logits.to(view.device))

    def _answer(self, x: Tensor) -> Tensor:
        size = self._network.batch_size
        if size is None:
            return self._network.run(x).float()
        parts = []
        for part in torch.split(x, size):
            missing = size - len(part)
            padded = torch.cat([part, part[-1:].expand(missing, -1, -1, -1)]) if missing else part
            parts.append(self._network.run(padded).float()[: len(part)])
        return torch.cat(parts)

    @torch.no_grad()
    def _probe(self, request: TeacherRequest) -> Tensor:
        image = request.one_image()
        generator = torch.Generator().manual_seed(0)
        shape = (_PROBES, image.channels, image.height, image.width)
        view = torch.rand(shape, generator=generator)
        try:
            answers = self._answer(self._network.encoder(view))
        except (RuntimeError, ValueError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise ModelError(
                f"teacher {request.source}: does not run on a batch of {shape} ({reason}); "
                "export it for this input size, with a dynamic or any fixed batch"
            ) from error
        if answers.dim() != 2 or len(answers) != _PROBES or not answers.isfinite().all():
            raise ModelError(
                f"teacher {request.source}: answers shape {tuple(answers.shape)} to {_PROBES} "
                f"images; expected finite ({_PROBES}, K) logits; export the classifier alone"
            )
        return answers


def input_encoder(
    request: TeacherRequest, *, channels: int, size: tuple[int, int] | None
) -> ViewEncoder:
    """The input of a file without a record: its own shape, the data's normalisation.

    ``#mean=...`` and ``#std=...`` after the path replace the normalisation; one value stands for
    every channel.

    Raises:
        ModelError: If the options do not have one value, or one per channel.
    """
    data = ViewEncoder.of(request.one_image()).for_channels(channels)
    values = {"mean": data.mean, "std": data.std} | request.options
    mean, std = per_channel(values, channels=channels, source=f"teacher {request.source}")
    if not request.options:
        request.console.info(
            f"teacher {request.source}: gets the data's normalisation; if it was trained with "
            "another one, say #mean=...#std=... after its path (of pixels in 0 to 1)"
        )
    return ViewEncoder(channels=channels, size=size, mean=mean, std=std)


def _are_probabilities(answers: Tensor) -> bool:
    sums = answers.sum(dim=1)
    return bool((answers >= 0).all() and torch.allclose(sums, torch.ones_like(sums), atol=1e-3))
