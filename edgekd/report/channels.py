"""Networks that shrank while they were trained: what was left of every block, epoch by epoch.

One row per block, all over the same epochs, with the validation metric and the cost above them: so
it shows where channels went, when, and whether the network answered worse for it. Rows stay legible
for any number of blocks.
"""

from collections.abc import Iterator, Sequence

from edgekd.report.document import Cell, Column, Line, Section, Table
from edgekd.report.lineage import Network
from edgekd.report.units import DASH, duration, percent
from edgekd.report.walk import Epoch


def channel_sections(networks: Sequence[Network]) -> tuple[Section, ...]:
    """One section per network whose history tells the channels of its blocks."""
    return tuple(
        Section(title=f"Channels of {network.label}", table=_table(network.history))
        for network in networks
        if any(epoch.kept for epoch in network.history)
    )


def _table(epochs: Sequence[Epoch]) -> Table:
    return Table(
        columns=(
            Column(header="block", numeric=False),
            Column(
                header=f"epochs {epochs[0].epoch:,} to {epochs[-1].epoch:,}",
                detail="full height is 100 %",
                numeric=False,
            ),
            Column(header="first"),
            Column(header="last"),
            Column(header="left (%)"),
        ),
        lines=(*_run_lines(epochs), *_block_lines(epochs)),
        notes=tuple(_notes(epochs)),
    )


def _run_lines(epochs: Sequence[Epoch]) -> Iterator[Line]:
    """The metric and the costs, in per cent, above the blocks."""
    val_name = next((epoch.val_name for epoch in epochs if epoch.val_name), None)
    series = (
        (f"val {val_name} (%)", [epoch.val_value for epoch in epochs]),
        ("MACs (%)", [epoch.macs_share for epoch in epochs]),
        ("parameters (%)", [epoch.params_share for epoch in epochs]),
    )
    for name, values in series:
        known = [value for value in values if value is not None]
        if known:
            yield Line(
                cells=(
                    Cell(text=name),
                    Cell(text="", trace=tuple(values)),
                    Cell(text=percent(known[0])),
                    Cell(text=percent(known[-1])),
                    Cell(text=""),
                )
            )


def _block_lines(epochs: Sequence[Epoch]) -> Iterator[Line]:
    for block in dict.fromkeys(name for epoch in epochs for name in epoch.kept):
        counts = [epoch.kept.get(block) for epoch in epochs]
        known = [count for count in counts if count is not None]
        first = known[0]
        shares = [None if count is None or first <= 0 else count / first for count in counts]
        last_share = known[-1] / first if first > 0 else None
        yield Line(
            cells=(
                Cell(text=block),
                Cell(text="", trace=tuple(shares)),
                Cell(text=f"{first:,.0f}"),
                Cell(text=f"{known[-1]:,.0f}"),
                Cell(text=DASH if last_share is None else f"{100 * last_share:.1f}"),
            ),
            depth=1,
        )


def _notes(epochs: Sequence[Epoch]) -> Iterator[str]:
    yield (
        "A block's row: its inner channels that a network finished after that epoch would keep; "
        "shares are of the channels after the first epoch."
    )
    saved = [epoch.seconds_saved for epoch in epochs if epoch.seconds_saved is not None]
    if saved and saved[-1] > 0:
        yield f"Removing channels during training saved {duration(saved[-1])} of it."
    elif saved:
        yield "Channels were removed during training, which saved no time."
