"""The samples that set activation ranges, in whatever form a format's quantizer takes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from edgekd.errors import DataError
from edgekd.export.prepare import Encoding
from edgekd.export.quantization.candidates import Quantizer
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.records import ImageInput, InputSpec, SignalInput
from edgekd.runtimes.encoding import InputEncoding, TensorInfo, encode_input

_VALUES: Final = 20_000  # kept per tensor, over all samples
_LEAST_PER_BATCH: Final = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class CalibrationSamples:
    """Decoded training samples, one array per input: uint8 ``(n, H, W, C)`` or float ``(n, C, T)``.

    Raises:
        DataError: If a sample holds NaN or infinity: no range can be set from it.
    """

    specs: Sequence[InputSpec]
    decoded: Sequence[NDArray[Any]]

    def __post_init__(self) -> None:
        for spec, values in zip(self.specs, self.decoded, strict=True):
            if values.dtype.kind == "f" and not np.isfinite(values).all():
                raise DataError(
                    f"calibration samples of {spec.name!r} hold NaN or infinity; clean the data"
                )

    def feeds(self, encoding: Encoding, *, channel_last: bool) -> dict[str, NDArray[Any]]:
        """The samples as one file's inputs, through the encoding a device uses.

        Returns:
            Input name to ``(n, ...)``, uint8 or float32.
        """
        feeds = {}
        for spec, values in zip(self.specs, self.decoded, strict=True):
            how = input_encoding(spec, encoding, channel_last=channel_last)
            dtype = "uint8" if how.raw else "float32"
            # the file's shape is what the samples become: nothing to compare it with here
            shape = (None,) * values.ndim
            feeds[spec.name] = encode_input(
                values, TensorInfo(name=spec.name, shape=shape, dtype=dtype), how
            )
        return feeds


def input_encoding(spec: InputSpec, encoding: Encoding, *, channel_last: bool) -> InputEncoding:
    """How decoded samples of ``spec`` become the input of a file with this encoding and layout."""
    image = isinstance(spec, ImageInput)
    return InputEncoding(
        name=spec.name,
        kind=spec.kind,
        mean=spec.mean,
        std=spec.std,
        layout=("NHWC" if channel_last else "NCHW") if image else "NCT",
        raw=image and encoding == "uint8",
        clip=spec.clip if isinstance(spec, SignalInput) else None,
    )


def collect(quantizer: Quantizer, feeds: Mapping[str, NDArray[Any]]) -> RangeCollector:
    """A collector that has seen all activations of all samples."""
    rows = len(next(iter(feeds.values())))
    batches = -(-rows // quantizer.calibration_batch)
    per_batch = max(_LEAST_PER_BATCH, -(-_VALUES // max(batches, 1)))
    collector = RangeCollector(seed=0, per_batch=per_batch)
    quantizer.calibrate(feeds, collector)
    return collector
