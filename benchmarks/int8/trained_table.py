"""From the records of trained students' files to the table of what int8 cost them."""

from typing import Any, Final

from benchmarks.commands import conditions, minutes

BUDGET: Final = 0.005  # half a point


def is_within(row: dict[str, Any]) -> bool:
    """Whether there is an int8 file and it keeps the budget on the test split.

    >>> is_within({"needed": "calibration", "drop": 0.004}), is_within({"needed": None})
    (True, False)
    """
    return row["needed"] is not None and row["drop"] <= BUDGET


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of one run of the driver."""
    first = rows[0]["training"]
    counted = [row for row in rows if row["needed"] is not None]
    within = sum(map(is_within, rows))
    lines = [
        f"CIFAR-10 (JPEG copy) at {rows[0]['input_size']} pixels, trained from labels for "
        f"{rows[0]['epochs']} epochs on {rows[0]['label_fraction']:.0%} of them, last epoch, "
        f"seed {rows[0]['seed']}; {conditions(first)}. "
        f"Top-1 on the test split{_samples(counted)}; batch 1, 1 thread"
        f"{'; ' + rows[0]['note'] if rows[0]['note'] else ''}. Each file was exported with "
        "calibration alone, then with adjustments of the float network, then with a recovery, "
        f"until one was within {100 * BUDGET:g} points of fp32 on the validation split; that one "
        "alone was measured on the test split.",
        "",
        "| network | parameters | training minutes | runtime | fp32 top-1 % | int8 top-1 % | "
        "drop, points | precision | speed-up | size of fp32 | needed | refused before |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
        *(line(row) for row in rows),
        "",
        f"{within} of {len(rows)} int8 files are within {100 * BUDGET:g} points of fp32 on the "
        "test split.",
    ]
    return "\n".join(lines) + "\n"


def line(row: dict[str, Any]) -> str:
    """One row of the table."""
    trained = row["training"]
    cells = [row["student"], f"{trained['num_params']:,}", f"{minutes([trained]):.1f}"]
    cells.append(row["format"])
    refused = "; ".join(f"{step}: {why}" for step, why in row["refused"].items())
    if row["needed"] is None:
        return f"| {' | '.join(cells)} | | | | | | | none was enough | {refused} |"
    cells += [f"{100 * row[name]:.2f}" for name in ("fp32_top1", "int8_top1", "drop")]
    cells += [row["precision"], f"{row['speedup']:.2f}", f"{row['size_ratio']:.2f}"]
    cells += [row["needed"], refused]
    return f"| {' | '.join(cells)} |"


def _samples(rows: list[dict[str, Any]]) -> str:
    return f" of {rows[0]['num_samples']:,} images" if rows else ""
