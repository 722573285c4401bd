"""What the records say about each other, line by line: the metric lost, the time won.

Only like is compared with like: metrics of the same name, split and sample count; latencies as
:mod:`edgekd.report.speedups` does.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from edgekd.records import Metric
from edgekd.report.lineage import File, Group, Lineage, Measured, Network
from edgekd.report.speedups import Speedup, speedup

Role = Literal["teacher", "student", "file"]

_SPLIT_ORDER: Final = {"test": 0, "val": 1, "train": 2}


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A metric lost, as a fraction; negative is a gain."""

    value: float
    against: str
    """What it was compared with; empty for the network a file was made from."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the main table: a network or a file, in one setting if it was measured."""

    role: Role
    owner: str
    """sha256 of the network the line is about, or was made from."""
    depth: int
    """0 for the head of a lineage, plus 1 for each step down to a student and to a file."""
    name: str
    detail: str
    repeats: bool
    """Whether the line above is about the same thing in another setting."""
    metric: Metric | None
    other_data: str
    """That the metric is of other data than the network was trained on, and which; else empty."""
    drop: Drop | None
    num_params: int | None
    macs: int | None
    size_bytes: int | None
    measured: Measured | None
    speedup: Speedup | None


def rows(group: Group) -> tuple[Row, ...]:
    """Every line of a group's main table: each teacher, its students, and the files of each."""
    return tuple(row for lineage in group.lineages for row in _lineage_rows(lineage))


def best_metric(metrics: Iterable[Metric]) -> Metric | None:
    """The metric to show: of the test split if there is one, else val, else train."""
    return min(metrics, key=lambda metric: _SPLIT_ORDER[metric.split], default=None)


def drop_between(reference: Iterable[Metric], metric: Metric | None) -> float | None:
    """``reference - metric``, or ``None`` unless name, split and sample count agree."""
    if metric is None:
        return None
    same = (
        other.value - metric.value
        for other in reference
        if (other.name, other.split, other.num_samples)
        == (metric.name, metric.split, metric.num_samples)
    )
    return next(same, None)


def network_name(network: Network) -> str:
    """The architecture as the user typed it, else its family; empty if unknown."""
    typed = network.provenance.recipe.get("student") if network.provenance else None
    if isinstance(typed, str):
        return typed
    return network.bundle.arch.family if network.bundle else ""


def _lineage_rows(lineage: Lineage) -> Iterator[Row]:
    has_teacher = lineage.teacher_ref is not None or lineage.teacher is not None
    if lineage.teacher is not None:
        yield from _network_rows(lineage.teacher, "teacher", 0, lineage)
    elif lineage.teacher_ref is not None:
        yield _unseen_teacher_row(lineage)
    for student in lineage.students:
        yield from _network_rows(student, "student", int(has_teacher), lineage)


def _unseen_teacher_row(lineage: Lineage) -> Row:
    ref = lineage.teacher_ref
    if ref is None:
        raise ValueError("the lineage has no teacher")
    return Row(
        role="teacher",
        owner=ref.sha256 or ref.source,
        depth=0,
        name=ref.source,
        detail=f"teacher, {ref.kind}",
        repeats=False,
        metric=None,
        other_data="",
        drop=None,
        num_params=ref.num_params,
        macs=ref.macs,
        size_bytes=None,
        measured=None,
        speedup=None,
    )


def _network_rows(network: Network, role: Role, depth: int, lineage: Lineage) -> Iterator[Row]:
    bundle = network.bundle
    metric = best_metric(bundle.metrics) if bundle else None
    gap = drop_between(lineage.teacher_metrics, metric) if role == "student" else None
    for index, measured in enumerate(network.torch or (None,)):
        incomplete = measured if measured and measured.setting.missing else None
        yield Row(
            role=role,
            owner=network.sha256,
            depth=depth,
            name=network.label,
            detail=_network_detail(network, role, in_torch=measured is not None),
            repeats=index > 0,
            metric=incomplete.metric if incomplete else metric,
            other_data=_other_data(incomplete) if incomplete else "",
            drop=Drop(value=gap, against="teacher") if gap is not None and not incomplete else None,
            num_params=bundle.num_params if bundle else None,
            macs=bundle.macs if bundle else None,
            size_bytes=measured.record.size_bytes if measured else None,
            measured=measured,
            speedup=speedup(measured, "torch", student=network, teacher=lineage.teacher)
            if measured
            else None,
        )
    for file in network.files:
        yield from _file_rows(file, network, depth + 1, lineage)


def _file_rows(file: File, network: Network, depth: int, lineage: Lineage) -> Iterator[Row]:
    record = file.exported
    for index, measured in enumerate(file.measured or (None,)):
        metric, other_data = _file_metric(file, measured, is_first=index == 0)
        yield Row(
            role="file",
            owner=network.sha256,
            depth=depth,
            name=file.name,
            detail=file.kind,
            repeats=index > 0,
            metric=metric,
            other_data=other_data,
            drop=_file_drop(file, network, measured, None if other_data else metric)
            if metric or index == 0
            else None,
            num_params=record.num_params if record else None,
            macs=record.macs if record else None,
            size_bytes=_size_bytes(file),
            measured=measured,
            speedup=speedup(measured, file.format, student=network, teacher=lineage.teacher)
            if measured
            else None,
        )


def _file_metric(
    file: File, measured: Measured | None, *, is_first: bool
) -> tuple[Metric | None, str]:
    """Measured in this setting, else of the file's record, said once; and of which other data."""
    if measured is not None and measured.metric is not None:
        return measured.metric, _other_data(measured)
    record = file.exported
    if record is None or not is_first:
        return None, ""
    metric = best_metric(record.metrics)
    return metric, "other data" if metric and record.judged_on_other_data else ""


def _other_data(measured: Measured) -> str:
    if measured.other_data is None:
        return ""
    return f"other data: {Path(measured.other_data.source).name}"


def _file_drop(
    file: File, network: Network, measured: Measured | None, metric: Metric | None
) -> Drop | None:
    missing = measured.setting.missing if measured else ()
    value = drop_between(_reference_metrics(network, file, missing), metric)
    if value is not None:
        return Drop(value=value, against="")
    if missing:
        return None
    parity = file.exported.parity if file.exported else None
    if parity is None or parity.metric_drop is None:
        return None
    split = parity.split or "samples"
    return Drop(value=parity.metric_drop, against=f"parity, {split}, n = {parity.num_samples:,}")


def _reference_metrics(network: Network, of: File, missing: tuple[str, ...]) -> Iterator[Metric]:
    """The network's own metrics; for a reduced precision also those of its fp32 files.

    Where inputs were missing, only what was measured without the same inputs.
    """
    if network.bundle and not missing:
        yield from network.bundle.metrics
    measured = list(network.torch)
    for file in network.files:
        if file.precision == "fp32" != of.precision:
            if file.exported and not missing and not file.exported.judged_on_other_data:
                yield from file.exported.metrics
            measured += file.measured
    for taken in measured:
        same = taken.setting.missing == missing
        if same and taken.metric is not None and taken.other_data is None:
            yield taken.metric


def _size_bytes(file: File) -> int | None:
    if file.exported is not None:
        return file.exported.size_bytes
    return file.measured[0].record.size_bytes if file.measured else None


def _network_detail(network: Network, role: Role, *, in_torch: bool) -> str:
    recipe = network.provenance.recipe if network.provenance else {}
    method = recipe.get("method")
    taught = method if role == "student" and isinstance(method, str) else ""
    share = recipe.get("label_fraction", 1.0)
    few = f"{100 * share:g} % of the labels" if isinstance(share, float) and share < 1 else ""
    parts = (role, network_name(network), taught, few, "in torch" if in_torch else "")
    return ", ".join(part for part in parts if part)
