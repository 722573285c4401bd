"""The proofs behind each file: does it answer like its source, and what does it compute in?"""

from collections.abc import Sequence

from edgekd.records import ExportedModel, Recovery
from edgekd.report.document import Cell, Column, Line, Section, Table
from edgekd.report.lineage import Network
from edgekd.report.units import DASH, TIMES, percent, points


def parity_section(networks: Sequence[Network]) -> Section | None:
    """How far each file's outputs are from its source's; ``None`` without files."""
    files = _exported(networks)
    if not files:
        return None
    columns = (
        Column(header="file", numeric=False),
        Column(header="precision", numeric=False),
        Column(header="samples"),
        Column(header="batch sizes"),
        Column(header="max abs error (outputs)"),
        Column(header="tolerance (outputs)"),
        Column(header="SQNR (dB)"),
        Column(header="top-1 agreement (%)"),
        Column(header="metric drop (points)"),
    )
    lines = []
    for label, exported in files:
        parity = exported.parity
        cells = (
            Cell(text=label),
            Cell(text=exported.precision),
            Cell(text=f"{parity.num_samples:,}", detail=parity.split or "split unknown"),
            Cell(text=", ".join(str(size) for size in parity.batch_sizes)),
            Cell(text=_scientific(parity.max_abs_err)),
            Cell(text=_scientific(parity.tolerance)),
            Cell(text="∞" if parity.sqnr_db is None else f"{parity.sqnr_db:.1f}"),
            Cell(text=percent(parity.top1_agreement)),
            Cell(text=points(parity.metric_drop)),
        )
        lines.append(Line(cells=cells))
    notes = ["Each file against the torch network it was made from, on the same samples."]
    if any(exported.task == "retrieval" for _, exported in files):
        notes.append(
            "For retrieval, outputs are embeddings, and the top-1 answer is the nearest other "
            "sample: the same one, or another one of its identity."
        )
    notes += [_recovered(label, found) for label, e in files if (found := e.recovery) is not None]
    table = Table(columns=columns, lines=tuple(lines), notes=tuple(notes))
    return Section(title="Parity", table=table)


def _recovered(label: str, recovery: Recovery) -> str:
    epochs = f"{recovery.epochs:,} epoch{'s' * (recovery.epochs != 1)}"
    return (
        f"{label}: recovered by {epochs} of training with 8-bit rounding (final loss "
        f"{recovery.final_loss:.3g}), because of {recovery.reason}. Error and SQNR are against the "
        "float network that came out, agreement and drop against the student."
    )


def operator_section(networks: Sequence[Network]) -> Section | None:
    """What each file computes in, operator by operator; ``None`` without files."""
    files = _exported(networks)
    if not files:
        return None
    columns = (
        Column(header="file", numeric=False),
        Column(header="input", numeric=False),
        Column(header="int8 share of MACs (%)"),
        Column(header="int8 operators", numeric=False),
        Column(header="float operators", numeric=False),
        Column(header="operators"),
        Column(header="transposes"),
        Column(header="largest tensor (axes)"),
    )
    lines = []
    for label, exported in files:
        audit = exported.audit
        first, *others = exported.inputs
        shape = f" {TIMES} ".join(str(size) for size in first.shape)
        more = f", and {len(others)} more" if others else ""
        cells = (
            Cell(text=label, detail=exported.precision),
            Cell(text=f"{first.dtype} {first.layout}", detail=f"{shape}{more}"),
            Cell(text=f"{audit.int8_macs_share * 100:.1f}"),
            Cell(text=_counts(audit.int8_operators)),
            Cell(text=_counts(audit.float_operators)),
            Cell(text=f"{audit.num_operators:,}"),
            Cell(text=f"{audit.num_transposes:,}"),
            Cell(text=DASH if audit.largest_rank is None else str(audit.largest_rank)),
        )
        lines.append(Line(cells=cells))
    notes = tuple(f"{label}: {note}" for label, exported in files for note in exported.notes)
    return Section(title="Operators", table=Table(columns=columns, lines=tuple(lines), notes=notes))


def _counts(operators: dict[str, int]) -> str:
    ordered = sorted(operators.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{name} {count:,}" for name, count in ordered) or DASH


def _exported(networks: Sequence[Network]) -> list[tuple[str, ExportedModel]]:
    return [
        (file.label, file.exported)
        for network in networks
        for file in network.files
        if file.exported is not None
    ]


def _scientific(value: float | None) -> str:
    if value is None:
        return DASH
    return f"{value:.1e}" if value else "0"
