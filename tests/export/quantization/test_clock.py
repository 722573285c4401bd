import pytest

from edgekd.export.quantization.clock import Clock, SearchTime


class Hand:
    """The time, as it is set."""

    def __init__(self):
        self.seconds = 1000.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def hand():
    return Hand()


def test_stages_end_at_their_shares(hand):
    clock = Clock(seconds=60.0, now=hand)
    assert not clock.is_past(0.5)
    hand.seconds += 30
    assert clock.spent() == 30
    assert clock.is_past(0.5)
    assert not clock.is_past(0.85)
    assert clock.allows(20, until=0.85)  # ends after 50 s of 51
    assert not clock.allows(22, until=0.85)


def test_without_time_everything_is_late_at_once(hand):
    clock = Clock(seconds=0.0, now=hand)
    assert clock.is_past(0.5)
    assert not clock.allows(0.0, until=1.0)


def test_without_a_limit_nothing_is_ever_late(hand):
    clock = Clock(now=hand)
    hand.seconds += 1e9
    assert not clock.is_past(0.0001)
    assert clock.allows(1e9, until=0.0001)


def test_what_one_search_leaves_goes_to_those_after_it(hand):
    total, given = SearchTime(120.0, searches=3, now=hand), []
    for taken in (10, 80, 5):
        with total.part() as clock:
            given.append(clock.seconds)
            hand.seconds += taken
        hand.seconds += 1000  # between searches nothing is counted
    assert given == [40, 55, 30]


def test_a_search_that_failed_has_taken_its_time_too(hand):
    total = SearchTime(100.0, searches=2, now=hand)
    with pytest.raises(ValueError, match="no"), total.part():
        hand.seconds += 70
        raise ValueError("no")
    with total.part() as clock:
        assert clock.seconds == 30


def test_where_nothing_is_left_a_search_has_no_time(hand):
    total = SearchTime(10.0, searches=2, now=hand)
    with total.part():
        hand.seconds += 25
    with total.part() as clock:
        assert clock.seconds == 0
        assert clock.is_past(1.0)
