"""From the records of trained students' files to the table of what int8 cost them."""

from typing import Any, Final

from benchmarks.commands import conditions, minutes

BUDGET: Final = 0.005  # half a point


def steps(record: dict[str, Any]) -> list[str]:
    """What made an int8 file accurate, in the order in which it is done.

    >>> tried = {"name": "equalization and bias correction", "applied": True}
    >>> steps({"precision": "int8-static", "adjustments": [tried], "recovery": None})
    ['calibration', 'equalization', 'bias correction']
    """
    calibrated = record["precision"] in ("int8-static", "int8-mixed")
    kept = [tried["name"] for tried in record["adjustments"] if tried["applied"]]
    return [
        *(["calibration"] if calibrated else []),
        *(kind for name in kept for kind in name.split(" and ")),
        *(["recovery"] if record["recovery"] else []),
    ]


def table(rows: list[dict[str, Any]]) -> str:
    """The Markdown table of one run of the driver."""
    first = rows[0]["training"]
    counted = [row for row in rows if "error" not in row]
    within = sum(row["drop"] <= BUDGET for row in counted)
    lines = [
        f"CIFAR-10 (JPEG copy) at {rows[0]['input_size']} pixels, trained from labels for "
        f"{rows[0]['epochs']} epochs on {rows[0]['label_fraction']:.0%} of them, last epoch, "
        f"seed {rows[0]['seed']}; {conditions(first)}. "
        f"Top-1 on the test split{_samples(counted)}; batch 1, 1 thread"
        f"{'; ' + rows[0]['note'] if rows[0]['note'] else ''}.",
        "",
        "| network | parameters | training minutes | runtime | fp32 top-1 % | int8 top-1 % | "
        "drop, points | precision | speed-up | size of fp32 | needed |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
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
        return f"| {' | '.join(cells)} | | | | refused: {row['error']} | | | |"
    cells += [f"{100 * row[name]:.2f}" for name in ("fp32_top1", "int8_top1", "drop")]
    cells += [row["precision"], f"{row['speedup']:.2f}", f"{row['size_ratio']:.2f}"]
    cells.append(", ".join(row["steps"]) or "nothing")
    return f"| {' | '.join(cells)} |"


def _samples(rows: list[dict[str, Any]]) -> str:
    return f" of {rows[0]['num_samples']:,} images" if rows else ""
