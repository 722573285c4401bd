"""CDD beside its rivals, at the same final MACs and after the same number of epochs.

    python -m benchmarks.cdd.run retrieval --data omniglot.zip --jobs 2
    python -m benchmarks.cdd.run classification --data cifar10-jpeg.zip --jobs 2
    python -m benchmarks.cdd.run retrieval --data omniglot.zip --quick      # does all of it work?
    python -m benchmarks.cdd.run retrieval --data omniglot.zip --phase latency

A finished teacher of the experiment's recipe can be copied to ``<runs>/teacher`` beforehand.

Rows: CDD; the dense student by ``kd``; CDD with the mask replaced by magnitude (ResRep); a
uniformly narrow student from labels, and by ``kd``; torch-pruning's pruner followed by ``kd``; CDD
that shrinks while it trains. All are taught by one dense teacher and continue from a trained
network: the narrow students from a narrow one that the teacher's recipe trained, all others from
the teacher. What CDD loses is told against the teacher and against the dense student.

Every training is one command that resumes, so this can be killed and started again; what is
finished is not started again. All rows of a seed come before the next seed. As soon as a run is
finished its record is appended to ``results.jsonl`` and ``table-<experiment>.md`` is written anew
from what there is. ``test`` is read once, by the finished run. At the end the dense network and the
CDD students are exported and timed (``--phase latency`` repeats that on a quiet machine; with
``--seeds 0`` of one student).
``estimate.py`` says beforehand how long all of it takes.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path
from types import FrameType

from benchmarks.cdd.experiments import EXPERIMENTS, HERE, PEER, Plan, Training
from benchmarks.cdd.latency import latency_table
from benchmarks.cdd.table import main_table
from benchmarks.commands import append, bundle, is_finished


class Crew:
    """Runs trainings side by side; a signal stops them all, each with a checkpoint."""

    def __init__(self, jobs: int, threads: int) -> None:
        self._jobs = jobs
        self._environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        self._running: set[subprocess.Popen[bytes]] = set()
        self._is_stopping = False
        signal.signal(signal.SIGTERM, self._stop)
        signal.signal(signal.SIGINT, self._stop)

    def work(
        self, trainings: Iterable[Training], done: Callable[[Training], None]
    ) -> list[Training]:
        """Run those that are not finished, call ``done`` after each, and return what failed."""
        failed = []
        with ThreadPoolExecutor(self._jobs) as pool:
            futures = {pool.submit(self._run, training): training for training in trainings}
            for future in as_completed(futures):
                if future.result():
                    done(futures[future])
                else:
                    failed.append(futures[future])
        return failed

    def _run(self, training: Training) -> bool:
        if is_finished(training.folder):
            return True
        if self._is_stopping:
            return False
        training.folder.parent.mkdir(parents=True, exist_ok=True)
        log = training.folder.parent / f"{training.folder.name}.log"
        started = time.monotonic()
        print(f"{training.folder.name}: started, log in {log}", flush=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                training.command, stdout=file, stderr=file, env=self._environment
            )
            self._running.add(process)
            code = process.wait()
            self._running.discard(process)
        minutes = (time.monotonic() - started) / 60
        outcome = "finished" if code == 0 else f"FAILED with exit code {code}, see {log}"
        print(f"{training.folder.name}: {outcome} after {minutes:.1f} minutes", flush=True)
        return code == 0

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self._is_stopping = True
        for process in tuple(self._running):
            process.send_signal(signal.SIGINT)


def record(plan: Plan, training: Training, results: Path) -> None:
    """Append a finished run's record, once, and write the table anew."""
    found = bundle(training.folder)
    key = {
        "experiment": plan.experiment.name,
        "row": training.row,
        "seed": training.seed,
        "weights_sha256": found["weights_sha256"],
    }
    append(results, key, found)
    write_table(plan, results.parent)


def write_table(plan: Plan, folder: Path) -> None:
    """The table of what is finished, and of latencies where they were taken."""
    text = main_table(plan)
    latencies = folder / f"latency-{plan.experiment.name}.md"
    if latencies.is_file():
        text += "\n" + latencies.read_text()
    (folder / f"table-{plan.experiment.name}.md").write_text(text)


def write_latencies(plan: Plan, folder: Path) -> None:
    """Time what is finished and write both tables anew; without a CDD student only say so."""
    text = latency_table(plan, folder / "results.jsonl")
    if not text:
        print("no CDD student is finished: no latencies to compare")
        return
    (folder / f"latency-{plan.experiment.name}.md").write_text(text)
    write_table(plan, folder)


def train(plan: Plan, crew: Crew, results: Path) -> list[Training]:
    """What the students continue from, then the students; what failed is returned."""

    def done(training: Training) -> None:
        record(plan, training, results)

    return crew.work(plan.starts, done) or crew.work(plan.trainings(), done)


def require_peer(plan: Plan) -> None:
    """Stop before hours are spent if a row cannot be trained."""
    wanted = not plan.only or PEER in plan.only
    if wanted and importlib.util.find_spec("torch_pruning") is None:
        rows = " ".join(f'"{row}"' for row in plan.experiment.rows if row != PEER)
        raise SystemExit(
            "torch-pruning is not installed; only the row of that name needs it: "
            f"pip install torch-pruning==1.6.1, or leave the row out: --rows {rows}"
        )


def parse() -> tuple[Plan, argparse.Namespace]:
    """What to do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiment", choices=sorted(EXPERIMENTS))
    parser.add_argument("--data", required=True)
    parser.add_argument("--runs", type=Path, help="runs/cdd-<experiment> if left out")
    parser.add_argument("--jobs", type=int, default=1, help="trainings side by side")
    parser.add_argument("--threads", type=int, default=1, help="of each training")
    parser.add_argument(
        "--precision", choices=("fp32", "bf16"), help="the experiment's if left out"
    )
    parser.add_argument("--rows", nargs="+", default=[], help="train these alone")
    parser.add_argument(
        "--seeds", nargs="+", type=int, default=[], help="train or time these alone"
    )
    parser.add_argument("--phase", choices=("all", "train", "latency"), default="all")
    parser.add_argument("--quick", action="store_true", help="one epoch on very little data")
    given = parser.parse_args()
    experiment = EXPERIMENTS[given.experiment]
    unknown = set(given.rows) - set(experiment.rows)
    if unknown:
        parser.error(f"no such row: {', '.join(sorted(unknown))}; known: {list(experiment.rows)}")
    suffix = "-quick" if given.quick else ""
    plan = Plan(
        experiment=experiment,
        data=experiment.quick_data if given.quick and experiment.quick_data else given.data,
        runs=given.runs or Path(f"runs/cdd-{given.experiment}{suffix}"),
        threads=given.threads,
        precision=given.precision or experiment.precision,
        only=tuple(given.rows),
        only_seeds=tuple(given.seeds),
        is_quick=given.quick,
    )
    return plan, given


def main() -> None:
    """Train, export, measure, write; exit code 1 if a training failed or was stopped."""
    plan, given = parse()
    folder = plan.runs if plan.is_quick else HERE  # a trial leaves no trace among the results
    failed: list[Training] = []
    if given.phase != "latency":
        require_peer(plan)
        failed = train(plan, Crew(given.jobs, given.threads), folder / "results.jsonl")
    if given.phase != "train" and not failed:
        write_latencies(plan, folder)
    table = folder / f"table-{plan.experiment.name}.md"
    if table.is_file():
        print(table.read_text())
    if failed:
        names = ", ".join(training.folder.name for training in failed)
        sys.exit(f"not finished: {names}; the same command goes on")


if __name__ == "__main__":
    main()
