"""An int8 file judged on held-out samples while it is still one of many, without metadata."""

from pathlib import Path

import numpy as np

from edgekd.errors import ParityError
from edgekd.export.formats import FORMATS, FormatName, Source
from edgekd.export.parity import Logits, Reference, compare, problems, run_session
from edgekd.export.quantization.calibration import input_encoding
from edgekd.export.quiet import quiet_stderr
from edgekd.export.samples import ExportSamples
from edgekd.records import Parity
from edgekd.runtimes.session import open_session


def keeps_the_budget(path: Path, name: FormatName, source: Source, samples: ExportSamples) -> bool:
    """Whether an int8 file would pass the gate: asked before it is chosen.

    Raises:
        BundleError: If its runtime cannot run it.
    """
    try:
        parity, reference = parity_of(path, name, source, samples), samples.reference
    except ParityError:
        return False
    return not problems(parity, "int8-mixed", reference.logits, source.recipe, task=reference.task)


def parity_of(path: Path, name: FormatName, source: Source, samples: ExportSamples) -> Parity:
    """How far a file without metadata is from what it was made from, one sample a call.

    Raises:
        BundleError: If its runtime cannot run it.
        ParityError: If an answer is not a finite number.
    """
    found = _answers(path, name, source, samples.reference)
    return compare(samples.reference, lambda _: found, batch_sizes=(1,), tolerance=None)


def metric_drop_of(path: Path, name: FormatName, source: Source, samples: ExportSamples) -> float:
    """What a file loses of the task's metric against the float network inside it, as a fraction.

    Negative where the file happens to be better. The samples need labels.

    Raises:
        BundleError: If its runtime cannot run it.
        ParityError: If an answer is not a finite number.
    """
    reference = samples.reference
    exact, *_ = reference.metrics(reference.exact)
    found, *_ = reference.metrics(_answers(path, name, source, reference))
    return exact.value - found.value


def _answers(path: Path, name: FormatName, source: Source, reference: Reference) -> Logits:
    channel_last = FORMATS[name].channel_last(source.recipe)
    encodings = [
        input_encoding(spec, source.recipe.input_encoding, channel_last=channel_last)
        for spec in source.record.preprocess.inputs
    ]
    with quiet_stderr():
        session = open_session(path, num_threads=1, encodings=encodings)
        found = run_session(session, reference.samples, batch=1)
    if not np.isfinite(found).all():
        raise ParityError(f"{path.name}: answers NaN or infinity")
    return found
