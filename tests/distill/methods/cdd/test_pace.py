import pytest

from edgekd.distill.methods.cdd.pace import Pace


def test_saved_is_what_an_epoch_takes_less_than_those_at_full_size():
    pace = Pace()
    assert pace.add(10.0, is_smaller=False) == 0
    assert pace.add(12.0, is_smaller=True) == 0  # shrank at its end
    assert pace.add(8.0, is_smaller=True) == pytest.approx(11 - 8)
    restored = Pace.of(pace.state())
    assert restored == pace
    assert restored.add(6.0, is_smaller=True) == pytest.approx(3 + 5)
