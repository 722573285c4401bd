"""The time that a whole search may take: every stage asks it before it begins something."""

import math
import time
from collections.abc import Callable
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
