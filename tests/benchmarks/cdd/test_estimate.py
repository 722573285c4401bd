from benchmarks.cdd.estimate import recipes, total_hours
from benchmarks.cdd.experiments import EXPERIMENTS


def test_both_starts_count_once_and_every_row_per_seed():
    experiment = EXPERIMENTS["classification"]  # three seeds
    hours = {"teacher": 1.0, "narrow 19, taught": 0.5, "CDD": 0.25, "dense, kd": 0.125}
    hours |= {"narrow 19, labels": 0.0625, "narrow 19, kd": 0.03125}
    rows = 3 * 0.25 + 0.125 + 0.0625 + 2 * 0.03125  # three of CDD; torch-pruning as narrow kd
    assert total_hours(experiment, hours) == 1.5 + 3 * rows


def test_all_students_train_equally_long(any_plan):
    found = recipes(any_plan.experiment)
    narrow = f"narrow {any_plan.experiment.narrow}"
    assert found["teacher"].epochs == found[f"{narrow}, taught"].epochs
    students = ("CDD", "dense, kd", f"{narrow}, labels", f"{narrow}, kd")
    assert found.keys() - {"teacher", f"{narrow}, taught"} == set(students)
    assert len({found[row].epochs for row in students}) == 1
