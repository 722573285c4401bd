"""The time won: a latency against another one of the same device, thread count and batch."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgekd.report.lineage import Measured, Network, Setting

OWN_FP32: Final = "fp32 file"
"""The reference where nothing of a teacher was measured: the same network in the same format."""


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """Reference latency over this one, both medians of the same setting."""

    ratio: float
    over: str
    """What it was compared with; empty for the teacher's fp32 file of the same format."""


def speedup(
    measured: Measured, file_format: str, *, student: Network, teacher: Network | None
) -> Speedup | None:
    """How much faster than the teacher, by medians.

    The reference is the teacher's fp32 file of the same format; else its fastest fp32 file; else
    the teacher in torch; else the student in torch; else the student's own fp32 file of the same
    format. Nothing is compared on an emulated device.
    """
    own = measured.p50_ms
    found = _reference_ms(measured.setting, file_format, student=student, teacher=teacher)
    if own is None or own <= 0 or found is None:
        return None
    reference, over = found
    return Speedup(ratio=reference / own, over=over)


def fp32_file_ms(network: Network, setting: Setting, file_format: str) -> float | None:
    """Median latency of a network's fp32 file of one format in one setting."""
    return dict(_fp32_files_ms(network, setting)).get(file_format)


def _reference_ms(
    setting: Setting, file_format: str, *, student: Network, teacher: Network | None
) -> tuple[float, str] | None:
    if teacher is not None:
        files = dict(_fp32_files_ms(teacher, setting))
        if file_format in files:
            return files[file_format], ""
        if files:
            fastest = min(files, key=lambda key: files[key])
            return files[fastest], f"teacher {fastest}"
        if (in_torch := _torch_ms(teacher, setting)) is not None:
            return in_torch, "teacher torch"
    if (in_torch := _torch_ms(student, setting)) is not None:
        return in_torch, "student torch"
    own = fp32_file_ms(student, setting, file_format)
    return None if own is None else (own, OWN_FP32)


def _fp32_files_ms(network: Network, setting: Setting) -> Iterator[tuple[str, float]]:
    for file in network.files:
        for measured in file.measured:
            p50 = measured.p50_ms
            if file.precision == "fp32" and measured.setting == setting and p50 is not None:
                yield file.format, p50


def _torch_ms(network: Network, setting: Setting) -> float | None:
    medians = (measured.p50_ms for measured in network.torch if measured.setting == setting)
    return next(medians, None)
