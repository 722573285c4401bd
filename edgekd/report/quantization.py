"""What int8 cost: changes of the float network that were tried first, and the worst layers."""

from collections.abc import Mapping, Sequence
from typing import Final

from edgekd.records import ExportedModel
from edgekd.report.document import Cell, Column, Line, Section, Table
from edgekd.report.lineage import Network
from edgekd.report.names import short_names
from edgekd.report.units import MINUS, points

_WORST: Final = 8  # layers of a file that are shown; its record has more
_SHORTENED: Final = "Long names of layers are shortened (…); the file's record has them whole."


def adjustment_section(networks: Sequence[Network]) -> Section | None:
    """What was tried on the float networks so that int8 errs less; ``None`` without any."""
    lines = [
        Line(
            cells=(
                Cell(text=label),
                Cell(text=tried.name),
                Cell(text=f"{tried.places:,}"),
                Cell(text=_decibel(tried.sqnr_db_before)),
                Cell(text=_decibel(tried.sqnr_db_after)),
                Cell(text="kept" if tried.applied else "not kept"),
            ),
            repeats=number > 0,
        )
        for label, exported in _int8(networks)
        for number, tried in enumerate(exported.adjustments)
    ]
    if not lines:
        return None
    columns = (
        Column(header="file", numeric=False),
        Column(header="change", numeric=False),
        Column(header="places"),
        Column(header="SQNR before (dB)"),
        Column(header="SQNR after (dB)"),
        Column(header="outcome", numeric=False),
    )
    notes = (
        "Changes of the float network before int8. SQNR is of the file with every operator in "
        "int8 that can be, on a few calibration samples.",
    )
    return Section(
        title="Changes for int8", table=Table(columns=columns, lines=tuple(lines), notes=notes)
    )


def sensitivity_section(networks: Sequence[Network]) -> Section | None:
    """The layers that int8 loses most by, file by file; ``None`` where none was measured."""
    measured = [(label, file) for label, file in _int8(networks) if file.layer_errors]
    forms = [short_names(error.layer for error in file.layer_errors) for _, file in measured]
    lines = [
        Line(
            cells=(
                Cell(text=label, detail="" if number else _coverage(file)),
                Cell(text=short[error.layer], detail=error.kind),
                Cell(text=error.computes),
                Cell(text=_decibel(error.sqnr_db)),
                Cell(text=points(error.metric_drop), detail=error.metric_unknown or ""),
            ),
            repeats=number > 0,
        )
        for (label, file), short in zip(measured, forms, strict=True)
        for number, error in enumerate(file.layer_errors[:_WORST])
    ]
    if not lines:
        return None
    columns = (
        Column(header="file", numeric=False),
        Column(header="layer", numeric=False),
        Column(header="computes", numeric=False),
        Column(header="SQNR alone (dB)"),
        Column(header="metric drop alone (points)"),
    )
    notes = (
        f"Each layer alone in int8, all others in float: the lower the SQNR, the worse. At most "
        f"{_WORST} layers per file; its record has all that were measured. The drop is of the "
        "task's metric on the samples of the file's own comparison.",
        *([_SHORTENED] if any(_is_shortened(short) for short in forms) else ()),
    )
    unmeasured = sum(file.unmeasured_layers for _, file in measured)
    title = "Worst layers in int8" + (f" ({unmeasured} not measured)" if unmeasured else "")
    return Section(title=title, table=Table(columns=columns, lines=tuple(lines), notes=notes))


def _is_shortened(forms: Mapping[str, str]) -> bool:
    return any(name != form for name, form in forms.items())


def _int8(networks: Sequence[Network]) -> list[tuple[str, ExportedModel]]:
    return [
        (file.label, file.exported)
        for network in networks
        for file in network.files
        if file.exported is not None
    ]


def _coverage(file: ExportedModel) -> str:
    """How many layers were not measured; nothing where all were."""
    if not file.unmeasured_layers:
        return ""
    num_measured = len(file.layer_errors)
    return f"{num_measured} of {num_measured + file.unmeasured_layers} layers measured"


def _decibel(value: float) -> str:
    return f"{value:.1f}".replace("-", MINUS)
