import pytest

from edgekd.cli.pace import Pace


def test_a_slow_start_is_left_out():
    """Nine minutes of setting up before the first of 60 steps of a second each."""
    pace = Pace(total=60)
    assert pace.advance(1, now=540.0) is None
    left = [pace.advance(1, now=540.0 + second) for second in range(1, 60)]
    assert left[:9] == [None] * 9
    assert left[9:] == [float(59 - second) for second in range(10, 60)]


@pytest.mark.parametrize(
    ("total", "done", "needed"), [(1000, 0, 50), (1000, 900, 10), (100, 0, 10)]
)
def test_a_time_is_told_after_a_twentieth_of_the_work_and_ten_steps(total, done, needed):
    pace = Pace(total, done)
    known = [pace.advance(1, now=float(second)) is not None for second in range(total - done)]
    assert known.index(True) == needed  # after the first, which tells no pace


def test_few_steps_are_too_unlike_to_tell():
    pace = Pace(total=9)
    assert [pace.advance(1, now=float(second)) for second in range(9)] == [None] * 9
