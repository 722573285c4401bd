import json

import pytest

from benchmarks.cdd import shrinking
from benchmarks.cdd.experiments import EXPERIMENTS

CLASSIFICATION = EXPERIMENTS["classification"]


def test_the_widths_are_those_of_the_experiments_first_cdd_student(tmp_path):
    results = tmp_path / "results.jsonl"
    rows = [
        {"experiment": "classification", "run": "teacher", "p50_ms": 1.0},  # a latency
        {"experiment": "retrieval", "row": "CDD", "arch": {"widths": [1]}},
        {"experiment": "classification", "row": "CDD", "arch": {"widths": [9, 10]}},
        {"experiment": "classification", "row": "CDD", "arch": {"widths": [7, 7]}},
    ]
    results.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert shrinking.widths_of(CLASSIFICATION, results) == (9, 10)
    with pytest.raises(SystemExit, match="no finished CDD student"):
        shrinking.widths_of(CLASSIFICATION, tmp_path / "none.jsonl")


def test_steps_of_both_students_are_taken_in_turns(monkeypatch):
    few = {
        row: recipe.model_copy(update={"batch_size": 4})
        for row, recipe in shrinking.recipes(CLASSIFICATION).items()
    }
    monkeypatch.setattr(shrinking, "recipes", lambda _: few)
    monkeypatch.setattr(shrinking, "ROUNDS", 1)
    turns, taken = [], shrinking.stepper

    def stepper(student, *given):
        step = taken(student, *given)
        sizes = sum(p.numel() for p in student.parameters())
        return lambda: turns.append(sizes) or step()

    monkeypatch.setattr(shrinking, "stepper", stepper)
    assert all(time > 0 for time in shrinking.milliseconds(CLASSIFICATION, (2,) * 9))
    whole, narrow = turns[:2]
    assert turns == [whole, narrow] * 3
    assert narrow < whole
