"""What measuring longer told: latency in the heat of a sustained run, and energy per inference."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from edgekd.records import Measurement, Sustained, SustainedPoint
from edgekd.report.document import Cell, Column, Line, Section, Table
from edgekd.report.lineage import Measured, Network
from edgekd.report.units import DASH, duration, significant

_NOT_ASKED: Final = "not asked for"
_HEAT: Final = (
    Column(header="sustained run"),
    Column(header="speed over time", detail="full height is the fastest", numeric=False),
    Column(header="p50, first tenth (ms)"),
    Column(header="p50, last tenth (ms)"),
    Column(header="slower (%)"),
    Column(header="temperature (°C)", detail="first to last"),
    Column(header="frequency (MHz)", detail="first to last"),
)
_ENERGY: Final = (
    Column(header="energy (mJ per inference)"),
    Column(header="idle (W)"),
    Column(header="power read from", numeric=False),
)


def endurance_section(networks: Sequence[Network]) -> Section | None:
    """Sustained runs and energy of every measured file; ``None`` where neither was asked for.

    Without a single figure of energy, the reasons are a sentence and no columns.
    """
    named = list(_measured(networks))
    real = [measured.record for _, measured in named if not measured.setting.emulated]
    heat = any(record.sustained is not None for record in real)
    energy = any(record.energy is not None for record in real)
    unknown = () if energy else _unknown(measured for _, measured in named)
    if not heat and not energy:
        return Section(title="Heat and energy", lead=unknown) if unknown else None
    lines = []
    for label, measured in named:
        cells = [Cell(text=label), Cell(text=measured.setting.label)]
        cells += _heat(measured) if heat else ()
        cells += _energy(measured) if energy else ()
        lines.append(Line(cells=tuple(cells)))
    columns = (
        Column(header="file", numeric=False),
        Column(header="device", numeric=False),
        *(_HEAT if heat else ()),
        *(_ENERGY if energy else ()),
    )
    table = Table(columns=columns, lines=tuple(lines), notes=tuple(_notes(heat, energy)))
    return Section(title="Heat and energy", lead=unknown, table=table)


def _unknown(measured: Iterable[Measured]) -> tuple[str, ...]:
    """Why no energy is known, in one sentence; nothing where it was not asked for."""
    reasons: dict[str, list[str]] = {}
    for entry in measured:
        if not entry.setting.emulated and entry.record.energy_unknown is not None:
            devices = reasons.setdefault(entry.record.energy_unknown, [])
            if entry.setting.device not in devices:
                devices.append(entry.setting.device)
    told = "; ".join(f"{reason} ({', '.join(devices)})" for reason, devices in reasons.items())
    return (f"Energy per inference is not known: {told}.",) if told else ()


def _measured(networks: Sequence[Network]) -> Iterator[tuple[str, Measured]]:
    for network in networks:
        for file in network.files:
            yield from ((file.label, measured) for measured in file.measured)
        yield from ((f"{network.label} in torch", measured) for measured in network.torch)


def _heat(measured: Measured) -> tuple[Cell, ...]:
    record, run = measured.record, measured.record.sustained
    if run is None or measured.setting.emulated:
        reason = "emulated" if measured.setting.emulated else _NOT_ASKED
        return _dashes(len(_HEAT), reason)
    return (
        Cell(text=duration(run.seconds)),
        Cell(text="", trace=_speeds(run)),
        Cell(text=significant(run.first_p50_ns / 1e6)),
        Cell(text=significant(run.last_p50_ns / 1e6)),
        Cell(text=_slower(run)),
        _first_to_last(run, record, "temperature_c", lambda p: p.temperature_c, ".1f"),
        _first_to_last(run, record, "frequency_mhz", lambda p: p.frequency_mhz, ",.0f"),
    )


def _energy(measured: Measured) -> tuple[Cell, ...]:
    record, energy = measured.record, measured.record.energy
    if measured.setting.emulated:
        return _dashes(len(_ENERGY), "emulated")
    if energy is None:
        return _dashes(len(_ENERGY), record.energy_unknown or _NOT_ASKED)
    return (
        Cell(text=significant(energy.joules_per_inference * 1000)),
        Cell(text=significant(energy.idle_watts)),
        Cell(text=energy.source),
    )


def _dashes(count: int, reason: str) -> tuple[Cell, ...]:
    """The reason stands beside the first; the others go without."""
    return (Cell(text=DASH, detail=reason), *(Cell(text=DASH) for _ in range(count - 1)))


def _speeds(run: Sustained) -> tuple[float | None, ...]:
    """Of every stretch, as a fraction of the fastest one's."""
    fastest = min((point.p50_ns for point in run.points), default=0)
    return tuple(fastest / point.p50_ns if point.p50_ns > 0 else None for point in run.points)


def _slower(run: Sustained) -> str:
    if run.first_p50_ns <= 0:
        return DASH
    return significant(100 * (run.last_p50_ns / run.first_p50_ns - 1))


def _first_to_last(
    run: Sustained,
    record: Measurement,
    field: str,
    value: Callable[[SustainedPoint], float | None],
    form: str,
) -> Cell:
    known = [found for point in run.points if (found := value(point)) is not None]
    if not known:
        return Cell(text=DASH, detail=record.device_info.unknown.get(field, "it does not say"))
    return Cell(text=f"{known[0]:{form}} to {known[-1]:{form}}")


def _notes(heat: bool, energy: bool) -> Iterator[str]:
    if heat:
        yield "Sustained: calls without a pause; what heat does to them shows in the last tenth."
    if energy:
        yield "Energy: of everything its source feeds, idle consumption included."
