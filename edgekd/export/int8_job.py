"""What an int8 file is made from, and what judges it on the way."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from edgekd.config import ExportRecipe
from edgekd.devices.race import Race, race
from edgekd.export.adjustments.record import Adjustments
from edgekd.export.int8_basis import Basis, Proposes
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.sensitivity import MetricDrop
from edgekd.export.quantization.target import Target, this_machine
from edgekd.runtimes.session import Arrays


@dataclass(frozen=True, kw_only=True, eq=False)
class Int8Job:
    """What an int8 file is made from.

    Attributes:
        fp32: The file, without metadata.
        feeds: Calibration samples in its own encoding; ``None`` where no range has to be set.
        batch: Samples per call that the file takes.
        accept: Judges a file on held-out data.
        work: Scratch folder.
        metric_drop: What a file loses of the task's metric on held-out data; ``None`` without
            labels.
        race: Times files on the target.
        target: The machine that the file is made for.
        metadata_bytes: What will be put into the file besides the network.
        tell: Says something to the user.
        remembers: Whether what a search finds is kept for the next, and asked for.
        clock: Of a search; what follows from a word alone takes what it takes.
        adjuster: Proposes changes of the network; ``None`` where it has to stay as it is.
        remake: The basis of a changed network; ``None`` where there is no network to change.
    """

    recipe: ExportRecipe
    fp32: Path
    feeds: Arrays | None
    batch: int
    accept: Callable[[Path], bool]
    work: Path
    metric_drop: MetricDrop | None = None
    race: Race = race
    metadata_bytes: int = 0
    tell: Callable[[str], None] = lambda _: None
    remembers: bool = True
    target: Target = field(default_factory=this_machine)
    clock: Clock = field(default_factory=Clock)
    adjuster: Proposes | None = None
    remake: Callable[[Adjustments], Basis] | None = None

    def basis_of(self, plain: Basis, adjustments: Adjustments) -> Basis:
        """The network as it is, or adjusted again as a recipe says."""
        return self.remake(adjustments) if adjustments and self.remake is not None else plain
