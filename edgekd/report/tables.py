"""The main table: teacher, student and each exported file, one line per setting."""

from collections.abc import Callable, Iterator, Sequence

from edgekd.records import Metric
from edgekd.report.compare import Row, rows
from edgekd.report.document import Cell, Column, Line, Table
from edgekd.report.lineage import Group
from edgekd.report.speedups import OWN_FP32
from edgekd.report.units import DASH, TIMES, clean, percent, points, significant, unit_for

_UNKNOWN = Cell(text=DASH)
_BLANK = Cell(text="")


def main_table(group: Group) -> Table:
    """Teacher, students and files with metric, cost, latency, memory and speed-up.

    What is the same for every line (metric name, split and sample count; the device) stands in
    the header or a note once.
    """
    lines = rows(group)
    columns = [
        _names(lines),
        _metrics(lines),
        _drops(lines),
        _quantities("parameters", lines, lambda row: row.num_params),
        _quantities("MACs", lines, lambda row: row.macs),
        _quantities("size", lines, lambda row: row.size_bytes, base="B"),
        *_settings(lines),
        _latencies("p50 (ms)", lines, 50),
        _latencies("p90 (ms)", lines, 90),
        _latencies("p99 (ms)", lines, 99),
        _cold_starts(lines),
        _memory(lines),
        _speedups(lines),
    ]
    return Table(
        columns=tuple(column for column, _ in columns),
        lines=tuple(
            Line(cells=cells, depth=row.depth, repeats=row.repeats)
            for row, *cells_ in zip(lines, *(cells for _, cells in columns), strict=True)
            for cells in (tuple(cells_),)
        ),
        notes=_notes(lines),
    )


def terminal_table(group: Group) -> tuple[list[str], list[list[str]]]:
    """The main table as plain text: headers and rows of strings.

    Names are indented by their depth; a cell's qualification follows it in brackets. No cell
    holds a control character, so none can move a terminal's cursor.
    """
    table = main_table(group)
    headers = [_flat(column.header, column.detail) for column in table.columns]
    body = []
    for line in table.lines:
        first, *rest = line.cells
        cells = [indented(clean(first.text), line.depth), *(_flat(c.text, c.detail) for c in rest)]
        body.append(cells)
    return headers, body


def indented(text: str, depth: int) -> str:
    """A name set in under the one it came from, in characters that survive every format."""
    return "\N{NO-BREAK SPACE}" * 2 * (depth - 1) + "└ " + text if depth else text


_Part = tuple[Column, Sequence[Cell]]


def _names(lines: Sequence[Row]) -> _Part:
    cells = [Cell(text=row.name, detail="" if row.repeats else row.detail) for row in lines]
    return Column(header="model", numeric=False), cells


def _metrics(lines: Sequence[Row]) -> _Part:
    found = [row.metric for row in lines if row.metric is not None]
    names = {metric.name for metric in found}
    samples = {_samples(metric) for metric in found}
    name = names.pop() if len(names) == 1 else "metric"
    shared = samples.pop() if len(samples) == 1 else ""

    def cell(row: Row) -> Cell:
        metric = row.metric
        if metric is None:
            return _BLANK if row.repeats else _UNKNOWN
        parts = [metric.name] * (name == "metric") + [_samples(metric)] * (not shared)
        parts += [row.other_data] * bool(row.other_data)
        return Cell(text=percent(metric.value), detail=", ".join(parts))

    return Column(header=f"{name} (%)", detail=shared), [cell(row) for row in lines]


def _samples(metric: Metric) -> str:
    return f"{metric.split}, n = {metric.num_samples:,}"


def _drops(lines: Sequence[Row]) -> _Part:
    cells = []
    for row in lines:
        if row.drop is None:
            cells.append(_BLANK if row.repeats else _UNKNOWN)
        else:
            against = (
                f"vs {row.drop.against}" if row.drop.against == "teacher" else row.drop.against
            )
            cells.append(Cell(text=points(row.drop.value), detail=against))
    return Column(header="drop (points)"), cells


def _quantities(
    name: str, lines: Sequence[Row], value: Callable[[Row], int | None], *, base: str = ""
) -> _Part:
    unit = unit_for((value(row) for row in lines), base=base)
    header = f"{name} ({unit.name})" if unit.name else name
    cells = [_BLANK if row.repeats else Cell(text=unit.show(value(row))) for row in lines]
    return Column(header=header), cells


def _settings(lines: Sequence[Row]) -> list[_Part]:
    labels = [row.measured.setting.label if row.measured else DASH for row in lines]
    missing = any(row.measured and row.measured.setting.missing for row in lines)
    if len(set(labels) - {DASH}) < 2 and not missing:  # said once, in a note
        return []
    column = Column(header="device", numeric=False)
    return [(column, [Cell(text=label) for label in labels])]


def _latencies(header: str, lines: Sequence[Row], q: float) -> _Part:
    values = [row.measured.percentile_ms(q) if row.measured else None for row in lines]
    longest = max((value for value in values if value is not None), default=0.0)
    drawn = q == 50 and longest > 0  # one bar per line is enough
    cells = [
        Cell(text=significant(value), bar=value / longest if drawn else None)
        if value is not None
        else _UNKNOWN
        for value in values
    ]
    return Column(header=header), cells


def _cold_starts(lines: Sequence[Row]) -> _Part:
    values = [row.measured.cold_start_ms if row.measured else None for row in lines]
    cells = [_UNKNOWN if value is None else Cell(text=significant(value)) for value in values]
    return Column(header="cold start (ms)"), cells


def _memory(lines: Sequence[Row]) -> _Part:
    values = [row.measured.record.peak_rss_bytes if row.measured else None for row in lines]
    unit = unit_for(values, base="B")
    return Column(header=f"peak RSS ({unit.name})"), [Cell(text=unit.show(v)) for v in values]


def _speedups(lines: Sequence[Row]) -> _Part:
    overs = {row.speedup.over for row in lines if row.speedup}
    shared = overs.pop() if len(overs) == 1 else ""

    def cell(row: Row) -> Cell:
        if row.speedup is None:
            return _UNKNOWN
        over = row.speedup.over if not shared else ""
        detail = f"vs {over}" if over else ""
        return Cell(text=f"{significant(row.speedup.ratio)}{TIMES}", detail=detail)

    column = Column(header="speed-up", detail=f"vs {shared}" if shared else "")
    return column, [cell(row) for row in lines]


def _notes(lines: Sequence[Row]) -> tuple[str, ...]:
    notes = [
        "Drop: points lost, a student against its teacher, a file against the fp32 network it was "
        "made from; a minus is a gain."
    ]
    measured = [row.measured for row in lines if row.measured]
    labels = {entry.setting.label for entry in measured}
    if len(labels) == 1:
        notes.append(f"Measured on {labels.pop()}.")
    elif not measured:
        notes.append("Nothing was measured yet: edgekd bench writes the latencies.")
    if measured:
        notes.append("Peak RSS: what model and runtime added to the same process's baseline.")
    if any(entry.setting.missing for entry in measured):
        notes.append(
            "Without an input: its training mean was fed in its place; such a drop is against the "
            "fp32 network without the same input."
        )
    notes += _speedup_notes(lines)
    older = sum(entry.num_older for entry in measured)
    if older:
        notes.append(f"The latest measurement of each file is shown; {older:,} older not shown.")
    hidden = sum(entry.num_other_metrics for entry in measured if entry.other_data is None)
    if hidden:
        notes.append(
            "A metric is rather of the data that the network was trained on than of the latest "
            f"measurement; {hidden:,} of other data not shown."
        )
    return tuple(notes)


def _speedup_notes(lines: Sequence[Row]) -> Iterator[str]:
    overs = {row.speedup.over for row in lines if row.speedup}
    if overs - {OWN_FP32}:
        yield (
            "Speed-up: over the median of the teacher's fp32 file of the same format, in the same "
            "setting, unless another reference is named."
        )
    if OWN_FP32 in overs:
        yield (
            f"Speed-up vs {OWN_FP32}: over the same network's fp32 file of the same format, for no "
            "teacher was measured in that setting; export and bench the teacher to compare with it."
        )
    if any(row.speedup is None and row.measured and row.measured.p50_ms for row in lines):
        yield (
            "A dash for a speed-up: neither a teacher nor an fp32 file of the same format was "
            "measured in that setting."
        )


def _flat(text: str, detail: str) -> str:
    return clean(f"{text} ({detail})" if detail else text)
