"""CDD beside its rivals, at the same final MACs and after the same number of epochs.

    python benchmarks/cdd/run.py retrieval --data omniglot.zip
    python benchmarks/cdd/run.py classification --data cifar10-jpeg.zip

Rows: the dense teacher; a uniformly narrow student from labels, and by ``kd``; torch-pruning's
pruner followed by ``kd``; CDD with the mask replaced by magnitude (ResRep); CDD; CDD that shrinks
while it trains. Every training is one ``edgekd`` command that resumes, so the driver can be killed
and started again; finished runs return at once. Narrow widths are those on both sides of the
target, because whole channels rarely hit it. ``test`` is read once, by the finished run.

Appends to ``results.jsonl`` and writes ``table-<experiment>.md`` beside itself.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).parent
ROOT = HERE.parent.parent


@dataclass(frozen=True)
class Experiment:
    """One table."""

    teacher: Path
    """Recipe of ``edgekd teach``."""
    student: Path
    """Recipe of ``edgekd distill --method cdd``; the other rows change what they must."""
    narrow: tuple[int, ...]
    """Widths of the uniformly narrow students."""
    metric: str
    seeds: tuple[int, ...]


EXPERIMENTS = {
    "retrieval": Experiment(
        teacher=ROOT / "models/cdd-resnet101w16-omniglot/teacher.toml",
        student=ROOT / "models/cdd-resnet101w16-omniglot/recipe.toml",
        narrow=(9, 10),
        metric="mean_ap",
        seeds=(0, 1),
    ),
    "classification": Experiment(
        teacher=ROOT / "models/cifar10-resnet20w32-teacher/recipe.toml",
        student=ROOT / "models/cdd-resnet20w32-cifar10/recipe.toml",
        narrow=(19,),
        metric="top1",
        seeds=(0, 1, 2),
    ),
}


def run(*command: object) -> None:
    """Run one command to its end; its result is the folder it writes."""
    print("$", *command, flush=True)
    subprocess.run([str(part) for part in command], stdout=subprocess.DEVNULL, check=True)


def edgekd(*arguments: object) -> None:
    """Run one edgekd command."""
    run(sys.executable, "-m", "edgekd", *arguments)


def bundle(folder: Path) -> dict:
    """A finished run's record."""
    return json.loads((folder / "bundle.json").read_text())


def rows_of(experiment: Experiment) -> dict[str, tuple[object, ...]]:
    """Row -> what its ``edgekd distill`` command says besides data, teacher and seed."""
    narrow = {
        f"narrow {width}{suffix}": ("--set", f"student_options.width={width}", "--method", method)
        for width in experiment.narrow
        for method, suffix in (("none", ", labels"), ("kd", ", kd"))
    }
    return {
        **narrow,
        "CDD, magnitude mask": ("--method", "cdd", "--set", "cdd.mask=magnitude"),
        "CDD": ("--method", "cdd"),
        "CDD, shrinking while training": ("--method", "cdd", "--shrink-while-training"),
    }


def folder_of(runs: Path, row: str, seed: int) -> Path:
    """Where one run lies."""
    return runs / f"{row.replace(', ', '-').replace(' ', '-').lower()}-seed{seed}"


def train(experiment: Experiment, data: Path, runs: Path, threads: int | None) -> None:
    """Everything that is trained; finished runs return at once."""
    common = ("--data", data, "--resume", *(("--threads", threads) if threads else ()))
    teacher = runs / "teacher"
    edgekd("teach", "--recipe", experiment.teacher, *common, "-o", teacher)
    dense = ("--weights", teacher / "weights.safetensors")
    share = tomllib.loads(experiment.student.read_text())["cdd"]["target_macs"]
    for seed in experiment.seeds:
        for row, what in rows_of(experiment).items():
            taught = () if row.endswith("labels") else ("--teacher", teacher)
            start = () if row.startswith("narrow") else dense
            output = ("--seed", seed, "-o", folder_of(runs, row, seed))
            recipe = ("--recipe", experiment.student)
            edgekd("distill", *recipe, *what, *taught, *start, *common, *output)
        prune(experiment, data, teacher, share, seed, runs, threads)


def prune(
    experiment: Experiment,
    data: Path,
    teacher: Path,
    share: float,
    seed: int,
    runs: Path,
    threads: int | None,
) -> None:
    """The row of torch-pruning."""
    arguments = {
        "recipe": experiment.student,
        "data": data,
        "teacher": teacher,
        "weights": teacher / "weights.safetensors",
        "share": share,
        "seed": seed,
        "output": folder_of(runs, "torch-pruning", seed),
        **({"threads": threads} if threads else {}),
    }
    flags = [part for key, value in arguments.items() for part in (f"--{key}", value)]
    run(sys.executable, HERE / "peer_torch_pruning.py", *flags)


def test_value(record: dict, metric: str) -> float:
    """The one test figure of a bundle."""
    found = (m["value"] for m in record["metrics"] if m["split"] == "test" and m["name"] == metric)
    return next(found)


def summary(values: list[float]) -> str:
    """Mean and sample standard deviation of fractions, in per cent."""
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{100 * statistics.mean(values):.2f} ± {100 * spread:.2f}"


def table(name: str, experiment: Experiment, runs: Path) -> str:
    """The Markdown table of one experiment."""
    teacher = bundle(runs / "teacher")
    provenance = teacher["provenance"]
    epochs = tomllib.loads(experiment.student.read_text())["epochs"]
    lines = [
        f"{name}: test split, last epoch of {epochs}, {len(experiment.seeds)} seeds (mean ± "
        f"standard deviation), {provenance['num_threads']} training threads, "
        f"{provenance['machine']}.",
        "",
        f"| network | {experiment.metric} % | below the teacher, points | MACs left % | "
        "parameters left % | training minutes |",
        "|---|---|---|---|---|---|",
        f"| teacher | {100 * test_value(teacher, experiment.metric):.2f} | 0 | 100 | 100 | "
        f"{provenance['train_seconds'] / 60:.1f} |",
    ]
    for row in (*rows_of(experiment), "torch-pruning"):
        group = [bundle(folder_of(runs, row, seed)) for seed in experiment.seeds]
        values = [test_value(record, experiment.metric) for record in group]
        drops = [test_value(teacher, experiment.metric) - value for value in values]
        macs = statistics.mean(record["macs"] for record in group) / teacher["macs"]
        params = statistics.mean(record["num_params"] for record in group) / teacher["num_params"]
        minutes = statistics.mean(r["provenance"]["train_seconds"] for r in group) / 60
        lines.append(
            f"| {row} | {summary(values)} | {summary(drops)} | {100 * macs:.1f} | "
            f"{100 * params:.1f} | {minutes:.1f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, train, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, help="runs/cdd-<experiment> if left out")
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    experiment = EXPERIMENTS[given.experiment]
    runs = given.runs or Path(f"runs/cdd-{given.experiment}")
    train(experiment, given.data, runs, given.threads)
    with (HERE / "results.jsonl").open("a") as file:
        for folder in sorted(path.parent for path in runs.glob("*/bundle.json")):
            record = {"experiment": given.experiment, "run": folder.name, **bundle(folder)}
            file.write(json.dumps(record) + "\n")
    text = table(given.experiment, experiment, runs)
    (HERE / f"table-{given.experiment}.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
