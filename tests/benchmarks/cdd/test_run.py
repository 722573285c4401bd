import json

from benchmarks.cdd import run
from benchmarks.cdd.run import record, train, write_latencies


class Crew:
    """Finishes everything at once and remembers the order."""

    def __init__(self, finished):
        self.finished, self.rows = finished, []

    def work(self, trainings, done):
        for training in trainings:
            self.finished(training.folder, 0.5)
            self.rows.append(training.row)
            done(training)
        return []


def test_what_rows_start_from_is_trained_once_and_first(plan, finished, tmp_path):
    crew = Crew(finished)
    plan.runs.mkdir()
    assert train(plan, crew, tmp_path / "results.jsonl") == []
    starts = ["teacher", "narrow 19, taught"]
    assert crew.rows == [*starts, *plan.experiment.rows, *plan.experiment.rows]
    table = (tmp_path / "table-classification.md").read_text()
    assert all(f"| {row} |" in table for row in crew.rows)


def test_a_run_is_recorded_once_and_again_when_it_was_trained_anew(plan, finished, tmp_path):
    results = tmp_path / "results.jsonl"
    finished(plan.teacher.folder, 0.5, weights="a")
    for _ in range(2):
        record(plan, plan.teacher, results)
    finished(plan.teacher.folder, 0.6, weights="b")
    record(plan, plan.teacher, results)
    rows = [json.loads(line) for line in results.read_text().splitlines()]
    assert [(row["row"], row["seed"], row["weights_sha256"]) for row in rows] == [
        ("teacher", 0, "a"),
        ("teacher", 0, "b"),
    ]


def test_earlier_latencies_stay_where_there_is_nothing_to_compare(
    plan, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(run, "latency_table", lambda *_: "")
    file = tmp_path / "latency-classification.md"
    file.write_text("before")
    write_latencies(plan, tmp_path)
    assert file.read_text() == "before"
    assert "no CDD student is finished" in capsys.readouterr().out
