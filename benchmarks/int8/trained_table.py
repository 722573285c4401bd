"""From the records of trained students' files to the table of what int8 cost them."""

from collections.abc import Sequence
from typing import Any, Final

from benchmarks.commands import conditions, minutes

BUDGET: Final = 0.005  # half a point


def is_within(attempt: dict[str, Any]) -> bool:
    """Whether an int8 file was made and keeps the budget on the test split."""
    return "error" not in attempt and attempt["drop"] <= BUDGET


def needed(attempts: Sequence[dict[str, Any]]) -> str | None:
    """The first step that was enough; ``None`` where none was.

    >>> needed([{"step": "calibration", "drop": 0.02}, {"step": "adjustments", "drop": 0.004}])
    'adjustments'
    >>> needed([{"step": "calibration", "error": "SQNR is 9.0 dB"}])
    """
    return next((attempt["step"] for attempt in attempts if is_within(attempt)), None)


def shown(attempts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The attempt that a row shows: the first within the budget, else the one that loses least.

    >>> shown([{"step": "calibration", "drop": 0.02}, {"step": "adjustments", "drop": 0.01}])
    {'step': 'adjustments', 'drop': 0.01}
    """
    first = next((attempt for attempt in attempts if is_within(attempt)), None)
    written = [attempt for attempt in attempts if "error" not in attempt]
    return first or min(written, key=lambda attempt: attempt["drop"], default=attempts[-1])


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of one run of the driver."""
    first = rows[0]["training"]
    counted = [row for row in rows if "error" not in row]
    within = sum(row["needed"] is not None for row in rows)
    lines = [
        f"CIFAR-10 (JPEG copy) at {rows[0]['input_size']} pixels, trained from labels for "
        f"{rows[0]['epochs']} epochs on {rows[0]['label_fraction']:.0%} of them, last epoch, "
        f"seed {rows[0]['seed']}; {conditions(first)}. "
        f"Top-1 on the test split{_samples(counted)}; batch 1, 1 thread"
        f"{'; ' + rows[0]['note'] if rows[0]['note'] else ''}. Each file was exported with "
        "calibration alone, then with adjustments of the float network, then with a recovery, "
        f"until one was within {100 * BUDGET:g} points of fp32; that one is shown.",
        "",
        "| network | parameters | training minutes | runtime | fp32 top-1 % | int8 top-1 % | "
        "drop, points | precision | speed-up | size of fp32 | needed | before that |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
        f"{within} of {len(rows)} int8 files are within {100 * BUDGET:g} points of fp32.",
    ]
    return "\n".join(lines) + "\n"


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    trained = row["training"]
    cells = [row["student"], f"{trained['num_params']:,}", f"{minutes([trained]):.1f}"]
    cells.append(row["format"])
    if "error" in row:
        return f"| {' | '.join(cells)} | | | | refused: {row['error']} | | | not reached | |"
    cells += [f"{100 * row[name]:.2f}" for name in ("fp32_top1", "int8_top1", "drop")]
    cells += [row["precision"], f"{row['speedup']:.2f}", f"{row['size_ratio']:.2f}"]
    cells += [row["needed"] or "not reached", _before(row)]
    return f"| {' | '.join(cells)} |"


def _before(row: dict[str, Any]) -> str:
    """What the other steps came to."""
    others = [attempt for attempt in row["attempts"] if attempt["step"] != row["step"]]
    return "; ".join(
        f"{attempt['step']}: "
        + ("refused" if "error" in attempt else f"{100 * attempt['drop']:.2f} points")
        for attempt in others
    )


def _samples(rows: list[dict[str, Any]]) -> str:
    return f" of {rows[0]['num_samples']:,} images" if rows else ""
