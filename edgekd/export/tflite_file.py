"""TFLite through litert-torch, in a subprocess that rebuilds the student from its bundle."""

import importlib.util
from pathlib import Path
from typing import Any, Final

from edgekd.errors import MissingExtraError
from edgekd.export.adjustments.record import AS_IT_IS, Adjustments
from edgekd.export.prepare import Encoding
from edgekd.export.subprocesses import run_converter
from edgekd.export.tflite_movements import shorten_movements

_WORKER: Final = "edgekd.export.tflite_worker"


def write_tflite(
    bundle_folder: Path,
    fp32: Path,
    *,
    encoding: Encoding,
    channel_last: bool,
    adjustments: Adjustments = AS_IT_IS,
    weights: Path | None = None,
) -> None:
    """Write the student of a bundle as an fp32 TFLite file of batch size 1.

    The bundle, not the module, crosses the process border: rebuilding it is deterministic, and
    nothing has to be unpickled.

    Args:
        bundle_folder: A verified bundle.
        fp32: The file to write, in a scratch folder.
        encoding: What it takes.
        channel_last: ``(B, H, W, C)`` images, the layout TFLite's kernels compute in.
        adjustments: Of the prepared network.
        weights: Of the prepared network, where they are not the bundle's.

    Raises:
        MissingExtraError: If litert-torch is not installed.
        ExportError: If the converter fails.
    """
    require_litert()
    job: dict[str, Any] = {
        "bundle": str(bundle_folder.absolute()),
        "fp32": str(fp32),
        "encoding": encoding,
        "channel_last": channel_last,
        "adjustments": adjustments.model_dump(mode="json"),
        "weights": None if weights is None else str(weights.absolute()),
    }
    run_converter(_WORKER, job, fp32.parent, purpose="convert the student to TFLite")
    fp32.write_bytes(shorten_movements(fp32.read_bytes()))


def require_litert() -> None:
    """Say what to install before minutes are spent.

    Raises:
        MissingExtraError: If litert-torch is not installed.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise MissingExtraError("litert-torch", extra="export", purpose="write TFLite files")
