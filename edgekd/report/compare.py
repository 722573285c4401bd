"""What the records say about each other: the metric lost, the time won.

Only like is compared with like: metrics of the same name, split and sample count; latencies of the
same device, thread count and batch.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

from edgekd.records import Metric
from edgekd.report.lineage import File, Group, Lineage, Measured, Network, Setting

Role = Literal["teacher", "student", "file"]

_SPLIT_ORDER: Final = {"test": 0, "val": 1, "train": 2}


@dataclass(frozen=True, kw_only=True)
class Drop:
    """A metric lost, as a fraction; negative is a gain."""

    value: float
    against: str
    """What it was compared with; empty for the network a file was made from."""


@dataclass(frozen=True, kw_only=True)
class Speedup:
    """Reference latency over this one, both medians of the same setting."""

    ratio: float
    over: str
    """What it was compared with; empty for the teacher's fp32 file of the same format."""


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


def speedup(
    measured: Measured, file_format: str, *, student: Network, teacher: Network | None
) -> Speedup | None:
    """How much faster than the teacher, by medians.

    The reference is the teacher's fp32 file of the same format; else its fastest fp32 file; else
    the teacher in torch; else the student in torch. Nothing is compared on an emulated device.
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
        yield Row(
            role=role,
            owner=network.sha256,
            depth=depth,
            name=network.label,
            detail=_network_detail(network, role, in_torch=measured is not None),
            repeats=index > 0,
            metric=metric,
            drop=Drop(value=gap, against="teacher") if gap is not None else None,
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
    own_metrics = record.metrics if record else ()
    for index, measured in enumerate(file.measured or (None,)):
        on_device = measured.record.metric if measured else None
        metric = on_device or (best_metric(own_metrics) if index == 0 else None)
        yield Row(
            role="file",
            owner=network.sha256,
            depth=depth,
            name=file.name,
            detail=file.kind,
            repeats=index > 0,
            metric=metric,
            drop=_file_drop(file, network, metric) if metric or index == 0 else None,
            num_params=record.num_params if record else None,
            macs=record.macs if record else None,
            size_bytes=_size_bytes(file),
            measured=measured,
            speedup=speedup(measured, file.format, student=network, teacher=lineage.teacher)
            if measured
            else None,
        )


def _file_drop(file: File, network: Network, metric: Metric | None) -> Drop | None:
    value = drop_between(_reference_metrics(network, file), metric)
    if value is not None:
        return Drop(value=value, against="")
    parity = file.exported.parity if file.exported else None
    if parity is None or parity.metric_drop is None:
        return None
    split = parity.split or "samples"
    return Drop(value=parity.metric_drop, against=f"parity, {split}, n = {parity.num_samples:,}")


def _reference_metrics(network: Network, of: File) -> Iterator[Metric]:
    """The network's own metrics; for a reduced precision also those of its fp32 files."""
    if network.bundle:
        yield from network.bundle.metrics
    yield from (m.record.metric for m in network.torch if m.record.metric is not None)
    for file in network.files:
        if file.precision == "fp32" != of.precision:
            yield from file.exported.metrics if file.exported else ()
            yield from (m.record.metric for m in file.measured if m.record.metric is not None)


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
    in_torch = _torch_ms(student, setting)
    return None if in_torch is None else (in_torch, "student torch")


def _fp32_files_ms(network: Network, setting: Setting) -> Iterator[tuple[str, float]]:
    for file in network.files:
        for measured in file.measured:
            p50 = measured.p50_ms
            if file.precision == "fp32" and measured.setting == setting and p50 is not None:
                yield file.format, p50


def _torch_ms(network: Network, setting: Setting) -> float | None:
    medians = (measured.p50_ms for measured in network.torch if measured.setting == setting)
    return next(medians, None)


def _size_bytes(file: File) -> int | None:
    if file.exported is not None:
        return file.exported.size_bytes
    return file.measured[0].record.size_bytes if file.measured else None


def _network_detail(network: Network, role: Role, *, in_torch: bool) -> str:
    recipe = network.provenance.recipe if network.provenance else {}
    method = recipe.get("method")
    taught = method if role == "student" and isinstance(method, str) else ""
    parts = (role, network_name(network), taught, "in torch" if in_torch else "")
    return ", ".join(part for part in parts if part)
