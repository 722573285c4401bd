"""TFLite through litert-torch, in a subprocess that rebuilds the student from its bundle."""

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import MissingExtraError
from edgekd.export.prepare import Encoding
from edgekd.export.quantization.tflite_recipe import KEEP_FLOAT
from edgekd.export.subprocesses import run_converter

_WORKER: Final = "edgekd.export.tflite_worker"


def write_tflite(
    bundle_folder: Path,
    fp32: Path,
    *,
    encoding: Encoding,
    channel_last: bool,
    int8: Path | None = None,
    calibration: Mapping[str, NDArray[Any]] | None = None,
) -> None:
    """Write the student of a bundle as an fp32 TFLite file of batch size 1, and as an int8 one.

    The bundle, not the module, crosses the process border: rebuilding it is deterministic, and
    nothing has to be unpickled. Both files come from one process, whose imports take longer than
    its work.

    Args:
        bundle_folder: A verified bundle.
        fp32: The float file to write, in a scratch folder.
        encoding: What the files take.
        channel_last: ``(B, H, W, C)`` images, the layout TFLite's kernels compute in.
        int8: The int8 file to write, if any.
        calibration: Input name to ``(n, ...)`` samples in the files' own encoding, for ``int8``.

    Raises:
        MissingExtraError: If litert-torch is not installed.
        ExportError: If the converter or the quantizer fails.
    """
    require_litert()
    job: dict[str, Any] = {
        "bundle": str(bundle_folder.absolute()),
        "fp32": str(fp32),
        "encoding": encoding,
        "channel_last": channel_last,
    }
    if int8 is not None and calibration is not None:
        samples = fp32.with_name("calibration.npz")
        np.savez(samples, allow_pickle=False, **dict(calibration))
        job |= {"int8": str(int8), "calibration": str(samples), "keep_float": KEEP_FLOAT}
    run_converter(_WORKER, job, fp32.parent, purpose="convert the student to TFLite")


def require_litert() -> None:
    """Say what to install before minutes are spent.

    Raises:
        MissingExtraError: If litert-torch is not installed.
    """
    if importlib.util.find_spec("litert_torch") is None:
        raise MissingExtraError("litert-torch", extra="export", purpose="write TFLite files")
