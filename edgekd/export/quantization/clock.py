"""The time that searches may take: every stage asks its clock before it begins something."""

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True, eq=False)
class Clock:
    """Runs from the moment that it is made.

    Stages share the time: each ends by a share of it that is larger than that of the stage before.

    Attributes:
        seconds: That may be spent altogether; infinite where nothing limits them.
        now: Seconds since any moment, never going back.

    >>> seconds = iter([5.0, 7.0, 7.0, 7.0])
    >>> clock = Clock(seconds=10.0, now=lambda: next(seconds))
    >>> clock.is_past(0.1), clock.allows(2.0, until=0.5), clock.allows(3.0, until=0.5)
    (True, True, False)
    """

    seconds: float = math.inf
    now: Callable[[], float] = time.monotonic
    _start: float = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_start", self.now())

    def spent(self) -> float:
        """Seconds since it was made."""
        return self.now() - self._start

    def is_past(self, share: float) -> bool:
        """Whether that share of the time is gone; always, where there was none."""
        return self.spent() >= share * self.seconds

    def allows(self, seconds: float, *, until: float) -> bool:
        """Whether what takes so many seconds ends before a share of the time is gone."""
        return self.spent() + seconds < until * self.seconds


class SearchTime:
    """What the searches of one export may take together.

    Each gets an equal part of what the ones before it left.

    Args:
        seconds: For all.
        searches: How many there are.
        now: As of :class:`Clock`.

    >>> seconds = iter([0.0, 30.0, 50.0, 60.0])
    >>> total = SearchTime(100.0, searches=2, now=lambda: next(seconds))
    >>> with total.part() as clock:
    ...     clock.seconds
    50.0
    >>> with total.part() as clock:
    ...     clock.seconds
    70.0
    """

    def __init__(
        self, seconds: float, *, searches: int, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._left, self._searches, self._now = seconds, searches, now

    @contextmanager
    def part(self) -> Iterator[Clock]:
        """The clock of one search, which begins here and has ended when the context has."""
        clock = Clock(seconds=max(0.0, self._left) / max(1, self._searches), now=self._now)
        try:
            yield clock
        finally:
            self._left -= clock.spent()
            self._searches -= 1
