"""Tables of the ablation, from its results alone: neither runs nor teachers need be there.

A row is in a table when all seeds of it are among the results. A taught row is there once for
every kind of teacher; what those were is in a file beside the results.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from benchmarks.commands import conditions, minutes, rows_of, summary, test_top1
from benchmarks.lsskd.ablation import EQUAL_EPOCHS, EQUAL_TIME, ROWS, WHOLE, Kind, Plan, Row, Run
from benchmarks.training import described

_NEAR = 0.2  # of the whole method's epochs


@dataclass(frozen=True)
class Line:
    """A row of a table, with its runs seed by seed."""

    row: Row
    taught_by: tuple[float, ...]
    """Parameters, MACs and label share of the teachers; empty without one."""
    records: tuple[dict, ...]

    @property
    def key(self) -> tuple[object, ...]:
        """What it is known by in all tables."""
        return (self.row.name, *self.taught_by)


def teachers_file(results: Path) -> Path:
    """Where the records of external teachers lie."""
    return results.with_name(results.name.replace("results", "teachers"))


def epochs_of(record: dict) -> int:
    """How long a run was."""
    return int(record["provenance"]["recipe"]["epochs"])


def relative_pace(pairs: Iterable[tuple[Sequence[dict], Sequence[dict]]]) -> float | None:
    """How many times as long a row takes as the whole method, where the same processors ran both.

    Args:
        pairs: Records of the row and of the whole method, table by table; the first pair counts
            that can be compared.
    """
    for row, whole in pairs:
        if row and whole and _processors(row) == _processors(whole):
            return minutes(row) / minutes(whole)
    return None


def epochs_in_equal_time(epochs: int, pace: float) -> int:
    """As many as the whole method's time has room for; what is nearly as many stays as it is."""
    fitting = max(1, round(epochs / pace))
    return epochs if abs(fitting - epochs) <= _NEAR * epochs else fitting


def lines_of(plan: Plan, kind: Kind) -> list[Line]:
    """The rows of a table that were trained for it."""
    teachers = {row["weights_sha256"]: row for row in rows_of(teachers_file(plan.results))}
    in_table = [record for record in rows_of(plan.results) if record["table"] == kind.name]
    lines = []
    for row in ROWS:
        by_teacher: dict[tuple[float, ...], dict[int, dict]] = {}
        for record in in_table:
            if record["row"] == row.name and _is_of(plan, kind, row, record):
                by_teacher.setdefault(_taught_by(record, teachers), {})[record["seed"]] = record
        lines += [
            Line(row, taught_by, tuple(records[seed] for seed in plan.seeds))
            for taught_by, records in by_teacher.items()
            if set(plan.seeds) <= records.keys()
        ]
    return lines


def lines_of_equal_time(plan: Plan) -> list[Line]:
    """Rows trained for as long as the whole method, or for about as long anyway."""
    counted = {k: _by_key(lines_of(plan, k)) for k in plan.kinds if k != EQUAL_TIME}
    own = _by_key(lines_of(plan, EQUAL_TIME))
    found = []
    for key, line in counted[EQUAL_EPOCHS].items():
        pace = relative_pace(
            (lines[key].records, lines[WHOLE,].records)
            for lines in counted.values()
            if key in lines and (WHOLE,) in lines
        )
        epochs = epochs_of(line.records[0])
        if key in own:
            found.append(own[key])
        elif pace is not None and epochs_in_equal_time(epochs, pace) == epochs:
            found.append(line)
    return found


def caption(plan: Plan, kind: Kind, lines: Sequence[Line]) -> str:
    """What was measured, and what was not."""
    records = [record for line in lines for record in line.records]
    changes = plan.changes_of(kind)
    if kind == EQUAL_TIME:  # each row has its own
        changes.pop("epochs", None)
    recipe = f"the recipe with {described(changes)}" if changes else "the recipe as it is"
    said = [
        f"{kind.name}: test top-1, {len(plan.seeds)} seeds (mean ± standard deviation), "
        f"{records[0]['provenance']['data']['num_samples']['train']:,} training samples, "
        f"{recipe}, {conditions(*records)}.",
        "Minutes compare on the same processor only, and roughly: trainings ran side by side.",
    ]
    if kind == EQUAL_TIME:
        said.append(
            f"Epochs as {WHOLE!r} took time for, at paces of the other tables, on one processor "
            "each; rows that were not trained for it are left out."
        )
    if kind.fraction < 1 and "epochs" in changes:
        said.append("As many steps as with all labels.")
    if kind.fraction < 1:
        said.append("Equal epochs; with few labels equal training time was not measured.")
    taught = [record["provenance"]["teacher"] for record in records]
    known_by = dict.fromkeys(teacher["sha256"][:8] for teacher in taught if teacher is not None)
    if known_by:
        said.append(f"Weights of the external teachers: {', '.join(known_by)}.")
    return " ".join(said)


def name_of(plan: Plan, kind: Kind, line: Line) -> str:
    """A row as the table calls it: with a teacher, also which labels that one was trained on."""
    if not line.row.taught:
        return line.row.name
    teachers = {row["weights_sha256"]: row for row in rows_of(teachers_file(plan.results))}
    shares, scores = set(), []
    for seed, record in zip(plan.seeds, line.records, strict=True):
        teacher = teachers[record["provenance"]["teacher"]["sha256"]]
        recipe = teacher["provenance"]["recipe"]
        share, drawn_with = recipe.get("label_fraction", 1), recipe["seed"]
        is_same = share == kind.fraction and (share == 1 or drawn_with == seed)
        shares.add("all" if share == 1 else "the same" if is_same else "other")
        scores.append(test_top1(teacher))
    params, macs, _ = line.taught_by
    return (
        f"{line.row.name} ({params / 1e6:.1f} M parameters, {macs / 1e6:.0f} M MACs, "
        f"{100 * sum(scores) / len(scores):.1f} %; trained on {' or '.join(sorted(shares))} labels)"
    )


def table(plan: Plan, kind: Kind) -> str | None:
    """One Markdown table; ``None`` while the row that others are compared with is missing."""
    lines = lines_of_equal_time(plan) if kind == EQUAL_TIME else lines_of(plan, kind)
    if not lines or lines[0].row != ROWS[0]:
        return None
    text = [
        caption(plan, kind, lines),
        "",
        "| | top-1 % | against labels only, points | epochs | training minutes | processor |",
        "|---|---|---|---|---|---|",
    ]
    base = [test_top1(record) for record in lines[0].records]
    for line in lines:
        values = [test_top1(record) for record in line.records]
        gains = [value - low for value, low in zip(values, base, strict=True)]
        took = f"{minutes(line.records):.1f}"
        epochs, where = epochs_of(line.records[0]), " or ".join(_processors(line.records))
        cells = (name_of(plan, kind, line), summary(values), summary(gains), epochs, took, where)
        text.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(text) + "\n"


def all_tables(plan: Plan) -> str:
    """Those whose rows are there, of all shares of the labels that were trained on."""
    names = {row["table"] for row in rows_of(plan.results)}
    shares = {float(n.removeprefix("labels-")) for n in names if n.startswith("labels-")}
    plan = replace(plan, fractions=tuple(sorted(shares)))
    return "\n".join(text for kind in plan.kinds if (text := table(plan, kind)) is not None)


def _by_key(lines: Iterable[Line]) -> dict[tuple[object, ...], Line]:
    return {line.key: line for line in lines}


def _taught_by(record: dict, teachers: dict[str, dict]) -> tuple[float, ...]:
    taught = record["provenance"]["teacher"]
    if taught is None:
        return ()
    teacher = teachers[taught["sha256"]]
    share = teacher["provenance"]["recipe"].get("label_fraction", 1)
    return (teacher["num_params"], teacher["macs"], share)


def _is_of(plan: Plan, kind: Kind, row: Row, record: dict) -> bool:
    """Whether it was trained by the plan's recipe, whoever taught it and for any equal time."""
    recipe = record["provenance"]["recipe"]
    same = replace(plan, data=Path(recipe["data"]), teacher=recipe["teacher"])
    epochs = epochs_of(record) if kind == EQUAL_TIME else None
    return not same.training(Run(kind, row, record["seed"], epochs)).differences(record)


def _processors(records: Sequence[dict]) -> list[str]:
    return sorted({record["provenance"]["machine"].split(",")[0] for record in records})
