"""The tables behind the main one: training, devices, provenance; parity comes from proofs."""

import json
from collections.abc import Callable, Sequence

from edgekd.records import DeviceInfo, Provenance
from edgekd.report.document import Cell, Column, Curves, Line, Listing, Section, Table
from edgekd.report.endurance import endurance_section
from edgekd.report.lineage import Collection, Network
from edgekd.report.proofs import operator_section, parity_section
from edgekd.report.quantization import adjustment_section, sensitivity_section
from edgekd.report.units import DASH, duration, percent, significant, unit_for
from edgekd.report.walk import Epoch


def detail_sections(collection: Collection) -> tuple[Section, ...]:
    """Every section after the main tables that has something to show."""
    sections = (
        _training(collection.networks),
        endurance_section(collection.networks),
        parity_section(collection.networks),
        operator_section(collection.networks),
        adjustment_section(collection.networks),
        sensitivity_section(collection.networks),
        _devices(collection),
        _provenance(collection.networks),
    )
    return tuple(section for section in sections if section is not None)


def _training(networks: Sequence[Network]) -> Section | None:
    trained = [network for network in networks if network.history]
    if not trained:
        return None
    headers = ("last train loss", "last val (%)", "best val (%)", "first lr", "last lr")
    lines = []
    for network in trained:
        epochs = network.history
        values = [e.val_value for e in epochs if e.val_value is not None]
        last_val = epochs[-1].val_value
        name = next((e.val_name for e in epochs if e.val_name), "")
        lines.append(
            Line(
                cells=(
                    Cell(text=network.label),
                    Cell(text=f"{len(epochs):,}"),
                    Cell(text=_number(epochs[-1].train_loss)),
                    Cell(text=percent(last_val), detail=name),
                    Cell(text=percent(max(values, default=None)), detail=_best_epoch(epochs)),
                    Cell(text=_number(epochs[0].lr)),
                    Cell(text=_number(epochs[-1].lr)),
                    Cell(text=duration(_total_seconds(epochs))),
                )
            )
        )
    columns = (
        Column(header="run", numeric=False),
        Column(header="epochs"),
        *(Column(header=header) for header in headers),
        Column(header="time"),
    )
    return Section(
        title="Training",
        table=Table(columns=columns, lines=tuple(lines)),
        curves=tuple(Curves(label=network.label, epochs=network.history) for network in trained),
    )


def _best_epoch(epochs: Sequence[Epoch]) -> str:
    scored = [epoch for epoch in epochs if epoch.val_value is not None]
    best = max(scored, key=lambda epoch: epoch.val_value or 0.0, default=None)
    return f"epoch {best.epoch + 1}" if best else ""


def _total_seconds(epochs: Sequence[Epoch]) -> float | None:
    seconds = [epoch.seconds for epoch in epochs if epoch.seconds is not None]
    return sum(seconds) if len(seconds) == len(epochs) else None


_DEVICE_FIELDS: tuple[tuple[str, Callable[[DeviceInfo], object]], ...] = (
    ("board", lambda info: info.board),
    ("CPU", lambda info: info.cpu),
    ("architecture", lambda info: info.arch),
    ("cores", lambda info: info.cpu_count),
    ("memory", lambda info: _memory(info)),
    ("operating system", lambda info: info.os),
    ("kernel", lambda info: info.kernel),
    ("Python", lambda info: info.python),
    ("governor", lambda info: info.governor),
    ("frequency (MHz)", lambda info: _fixed(info.frequency_mhz, 0)),
    ("temperature (°C)", lambda info: _fixed(info.temperature_c, 1)),
    ("throttled", lambda info: info.throttled),
    ("load average", lambda info: _fixed(info.load_average, 2)),
    ("emulated", lambda info: "yes" if info.emulated else "no"),
    ("runtimes", lambda info: _versions(info.runtime_versions)),
)  # fmt: skip


def _memory(info: DeviceInfo) -> str | None:
    total = info.memory_bytes
    return None if total is None else unit_for([total], base="B").show_named(total)


def _fixed(value: float | None, decimals: int) -> str | None:
    return None if value is None else f"{value:,.{decimals}f}"


def _devices(collection: Collection) -> Section | None:
    if not collection.devices:
        return None
    columns = (
        Column(header="", numeric=False),
        *(Column(header=label, numeric=False) for label, _ in collection.devices),
    )
    lines = []
    for name, field in _DEVICE_FIELDS:
        values = [field(info) for _, info in collection.devices]
        texts = [DASH if value is None else str(value) for value in values]
        lines.append(Line(cells=(Cell(text=name), *(Cell(text=text) for text in texts))))
    note = "As read at the latest measurement; a dash is what the device does not tell."
    return Section(title="Devices", table=Table(columns=columns, lines=tuple(lines), notes=(note,)))


def _provenance(networks: Sequence[Network]) -> Section | None:
    known = [(network, network.provenance) for network in networks if network.provenance]
    if not known:
        return None
    columns = tuple(
        Column(header=header, numeric=numeric)
        for header, numeric in (
            ("run", False),
            ("teacher", False),
            ("data", False),
            ("samples (train / val / test)", True),
            ("seed", True),
            ("precision", False),
            ("threads", True),
            ("training time", True),
            ("created", False),
            ("machine", False),
            ("commit", False),
            ("weights sha256", False),
        )
    )
    return Section(
        title="Provenance",
        table=Table(
            columns=columns,
            lines=tuple(_provenance_line(network, record) for network, record in known if record),
        ),
        listings=tuple(
            _recipe_listing(network.label, record) for network, record in known if record
        ),
    )


def _provenance_line(network: Network, record: Provenance) -> Line:
    counts = record.data.num_samples
    sizes = [f"{counts[name]:,}" if name in counts else DASH for name in ("train", "val", "test")]
    teacher = record.teacher
    cells = (
        Cell(text=network.label),
        Cell(text=teacher.source, detail=_short(teacher.sha256)) if teacher else Cell(text=DASH),
        Cell(text=record.data.source, detail=_short(record.data.fingerprint)),
        Cell(text=" / ".join(sizes)),
        Cell(text=str(record.seed)),
        Cell(text=record.precision),
        Cell(text=str(record.num_threads)),
        Cell(text=duration(record.train_seconds)),
        Cell(text=record.created),
        Cell(text=record.machine),
        Cell(text=_short(record.commit) or DASH),
        Cell(text=_short(network.sha256)),
    )
    return Line(cells=cells)


def _recipe_listing(label: str, record: Provenance) -> Listing:
    content = {"recipe": record.recipe, "versions": record.versions}
    text = json.dumps(content, indent=2, ensure_ascii=False)
    return Listing(label=f"Recipe and versions of {label}", lines=tuple(text.split("\n")))


def _versions(versions: dict[str, str]) -> str | None:
    return ", ".join(f"{name} {version}" for name, version in sorted(versions.items())) or None


def _short(digest: str | None) -> str:
    return (digest or "")[:12]


def _number(value: float | None) -> str:
    return DASH if value is None else significant(value)
