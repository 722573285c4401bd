"""Gains against a made-up device; what a whole search makes of them is in test_search.py."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from edgekd.export.quantization.candidates import Candidate
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.contest import Budget, Contest

ROUNDS = (1, 2, 5, 3, 9)  # the machine slows down: only ratios mean anything


def candidate(name, nanoseconds):
    return Candidate(label=name, choices={}, path=Path(f"{name}_{nanoseconds}.onnx"))


def race(files, *, num_threads, seconds):
    times = [int(file.stem.split("_")[1]) for file in files]
    return tuple(None if t == 0 else tuple(t * slow for slow in ROUNDS) for t in times)


def contest(levels, clock=None, **budget):
    measured = set()

    def sqnr_db(found):
        measured.add(found)
        return levels.get(found.label, 40.0)

    bench = SimpleNamespace(
        clock=clock or Clock(), sqnr_db=sqnr_db, is_measured=lambda found: found in measured
    )
    return Contest(bench, race, Budget(min_sqnr_db=20.0, num_threads=1, **budget)), measured


BEST, FASTER, SLOWER = candidate("best", 1000), candidate("faster", 800), candidate("slower", 1500)


def test_slowdowns_are_ratios_of_the_same_round_and_what_cannot_run_has_none():
    found, _ = contest({})
    broken, missing = candidate("broken", 0), Candidate(label="missing", choices={}, path=None)
    timed = found.slowdowns(BEST, [FASTER, broken, missing, BEST])
    assert timed == {FASTER: (pytest.approx(0.8), pytest.approx(0.0))}


def test_a_faster_file_gains_its_time_less_one_per_cent_for_luck():
    found, measured = contest({})
    gains = found.gains(BEST, found.slowdowns(BEST, [FASTER, SLOWER]))
    assert gains[FASTER] == pytest.approx(1 - 0.81)
    assert gains[SLOWER] == pytest.approx(1 - 1.51)
    assert measured == {BEST, FASTER}  # the error of what is slower is nobody's concern


def test_ten_db_short_of_the_budget_weigh_as_much_as_ten_times_the_time():
    found, _ = contest({"faster": 10.0, "best": 25.0})
    assert found.penalty(BEST) == 1.0
    assert found.penalty(FASTER) == pytest.approx(10.0)
    gains = found.gains(BEST, found.slowdowns(BEST, [FASTER]))
    assert gains[FASTER] == pytest.approx(1 - 10 * 0.81)


def test_when_time_is_up_no_error_is_measured_any_more():
    found, measured = contest({}, clock=Clock(seconds=0.0))
    assert found.is_late()
    measured.add(SLOWER)
    timed = {FASTER: (0.8, 0.0), SLOWER: (0.9, 0.0)}
    assert found.gains(BEST, timed) == {SLOWER: pytest.approx(1 - 0.91)}


def test_when_time_is_up_one_race_is_the_last():
    found, _ = contest({}, clock=Clock(seconds=0.0), files_per_race=1)
    assert list(found.slowdowns(BEST, [FASTER, SLOWER])) == [FASTER]


def test_speed_ups_over_a_file_come_fastest_first():
    found, _ = contest({})
    results = found.against(Path("fp32_1200.onnx"), [SLOWER, FASTER])
    assert [(c, speedup) for c, speedup, _ in results] == [
        (FASTER, pytest.approx(1.5)), (SLOWER, pytest.approx(0.8))
    ]  # fmt: skip
    assert found.against(Path("fp32_1200.onnx"), []) == []


def test_what_could_not_be_written_has_no_speed_up():
    found, _ = contest({})
    missing = Candidate(label="missing", choices={}, path=None)
    results = found.against(Path("fp32_1200.onnx"), [missing, FASTER])
    assert [c for c, *_ in results] == [FASTER]
    assert found.against(Path("fp32_1200.onnx"), [missing]) == []
