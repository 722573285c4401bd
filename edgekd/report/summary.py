"""The report in sentences: what the student costs less, what it lost, what its best file takes."""

from collections.abc import Iterable, Iterator
from typing import Final

from edgekd.records import Metric, StudentBundle
from edgekd.report.compare import Row, best_metric, drop_between, network_name, rows
from edgekd.report.lineage import Group, Lineage, Network
from edgekd.report.units import percent, points, significant, unit_for

_FEW_SAMPLES: Final = 2
"""A difference of no more of them may be chance: what one weighs is said."""


def summary(group: Group) -> tuple[str, ...]:
    """One short paragraph per student of a group; nothing in it that the records do not hold."""
    lines = rows(group)
    return tuple(
        " ".join(_student_sentences(lineage, student, lines))
        for lineage in group.lineages
        for student in lineage.students
    )


def _student_sentences(lineage: Lineage, student: Network, lines: tuple[Row, ...]) -> Iterator[str]:
    name = _named(student)
    bundle = student.bundle
    if bundle is None:
        yield f"{name}: only its files are here."
    elif lineage.teacher_ref is None:
        params = unit_for([bundle.num_params]).show_named(bundle.num_params)
        macs = unit_for([bundle.macs]).show_named(bundle.macs)
        yield f"{name}, without a teacher: {params} parameters, {macs} MACs{_score(bundle, ())}."
    else:
        teacher = _named(lineage.teacher) if lineage.teacher else lineage.teacher_ref.source
        cost = _cost(bundle, lineage)
        score = _score(bundle, lineage.teacher_metrics)
        yield f"{name} learned from {teacher}{cost}{score}."
    timed = [
        (row.measured.setting.num_threads, row.measured.p50_ms, index)
        for index, row in enumerate(lines)
        if row.role == "file" and row.owner == student.sha256
        if row.measured is not None and row.measured.p50_ms is not None
        if not row.measured.setting.missing
    ]
    if timed:
        _, p50_ms, index = min(timed)
        yield _fastest_sentence(lines[index], p50_ms)


def _named(network: Network) -> str:
    name = network_name(network)
    return f"{network.label} ({name})" if name else network.label


def _cost(student: StudentBundle, lineage: Lineage) -> str:
    params, macs = lineage.teacher_cost
    parts = [_times(macs, student.macs, "MACs"), _times(params, student.num_params, "parameters")]
    known = " and ".join(part for part in parts if part)
    return f" with {known}" if known else ""


def _times(teacher: int | None, student: int, what: str) -> str:
    if not teacher or not student:
        return ""
    if teacher >= student:
        return f"{significant(teacher / student)} times fewer {what}"
    return f"{significant(student / teacher)} times more {what}"


def _score(student: StudentBundle, teacher_metrics: Iterable[Metric]) -> str:
    metric = best_metric(student.metrics)
    if metric is None:
        return ""
    samples = f"{metric.split} (n = {metric.num_samples:,})"
    text = f": {metric.name} {percent(metric.value)} % on {samples}"
    lost = drop_between(teacher_metrics, metric)
    if lost is None:
        return text
    return f"{text}, {_distance(lost)} the teacher{_weight(lost, metric)}"


def _distance(lost: float) -> str:
    return f"{points(abs(lost))} points {'below' if lost >= 0 else 'above'}"


def _weight(lost: float, metric: Metric) -> str:
    """What one sample weighs, where so few of them make the whole difference."""
    if not 0 < abs(lost) * metric.num_samples <= _FEW_SAMPLES + 1e-6:  # of rounded fractions
        return ""
    one = points(1 / metric.num_samples)
    return f" (one of the {metric.num_samples:,} samples weighs {one} points)"


def _fastest_sentence(row: Row, p50_ms: float) -> str:
    parts = [f"Fastest file: {row.name} ({row.detail})"]
    if row.size_bytes is not None:
        parts.append(unit_for([row.size_bytes], base="B").show_named(row.size_bytes))
    if row.measured is not None:
        parts.append(f"p50 {significant(p50_ms)} ms on {row.measured.setting.label}")
    if row.speedup is not None and row.speedup.ratio != 1:  # 1 is the reference itself
        over = row.speedup.over or "teacher's fp32 file"
        parts.append(f"{significant(row.speedup.ratio)} times as fast as the {over}")
    if row.drop is not None and not row.drop.against and row.metric is not None:
        weight = _weight(row.drop.value, row.metric)
        parts.append(f"{_distance(row.drop.value)} its fp32 network{weight}")
    return ", ".join(parts) + "."
