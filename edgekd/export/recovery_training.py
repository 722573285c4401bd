"""The training of a recovery, seen from the export: what is trained, and what it leaves behind.

Training lies beside export, not below it: who calls an export hands the training in.
"""

import copy
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from torch import nn

from edgekd.config import ExportRecipe
from edgekd.console import Console
from edgekd.export.folded_weights import folded_bytes, load_folded
from edgekd.export.formats import Candidate, Source
from edgekd.export.learned_points import in_batches, observed, paired
from edgekd.export.quantization.onnx_types import TYPES
from edgekd.export.quantization.target import Target
from edgekd.export.recovered import RECOVERED_FILE, Recovered
from edgekd.export.recovery_points import points_in_float
from edgekd.export.samples import ExportSamples
from edgekd.records import Recovery, StudentBundle
from edgekd.students.quantized import FakeQuantized


class Recover(Protocol):
    """Trains a network that rounds to 8 bits."""

    def __call__(
        self,
        network: FakeQuantized,
        *,
        student: nn.Module,
        record: StudentBundle,
        recipe: ExportRecipe,
        work: Path,
        console: Console,
    ) -> float:
        """Train in place and return the mean training loss of the last epoch.

        Args:
            network: With calibrated ranges.
            student: In fp32, the teacher where the recipe names no other.
            record: Of the student.
            recipe: Data, seed and ``recovery``.
            work: Scratch folder.
            console: Hears about progress.
        """


def train(
    source: Source,
    samples: ExportSamples,
    student: nn.Module,
    recover: Recover,
    reason: str,
    console: Console,
    first: Sequence[Candidate] = (),
) -> Recovered:
    """Train the network of a source to bear 8 bits.

    Args:
        source: Of the files that lose too much; its network is not touched.
        samples: To calibrate with.
        student: As trained.
        recover: Trains.
        reason: Why, for the record.
        console: Hears about progress.
        first: The files that lose too much: where they round, the training does.

    Raises:
        ValueError: If there are no calibration samples.
        ModelError: If the student cannot be trained so.
    """
    recipe = source.recipe
    if samples.calibration is None:
        raise ValueError("a recovery needs calibration samples")
    batches = in_batches(samples.calibration)
    network = FakeQuantized(
        copy.deepcopy(source.network), [x[:2] for x in batches[0]], weight_bits=_weight_bits(source)
    )
    float_values = observed(network, batches)
    network.calibrate(float_values.best())
    network.leave_in_float(
        points_in_float(float_values.extremes(), first, source, samples.calibration)
    )
    work = source.work / "recovery"
    work.mkdir()
    loss = recover(
        network,
        student=student,
        record=source.record,
        recipe=recipe,
        work=work,
        console=console,
    )
    learned = paired(network, batches, network.ranges())
    content = folded_bytes(network.network)
    weights = work / RECOVERED_FILE
    weights.write_bytes(content)
    record = Recovery(
        epochs=recipe.recovery.epochs,
        final_loss=loss,
        reason=reason,
        teacher=recipe.recovery.teacher or "student",
        weights_sha256=hashlib.sha256(content).hexdigest(),
    )
    return Recovered(weights=weights, record=record, learned=learned)


def trained_network(source: Source, recovered: Recovered) -> nn.Module:
    """The network of a source with the weights of its recovery."""
    network = copy.deepcopy(source.network)
    return load_folded(network, recovered.weights, sha256=recovered.record.weights_sha256)


def _weight_bits(source: Source) -> int:
    """Of the coarsest weights among the formats."""
    return (
        TYPES[Target.of(source.device).processor].weight_bits
        if "onnx" in source.recipe.formats
        else 8
    )
