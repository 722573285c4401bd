"""How long what a bar counts will still take."""

from typing import Final

_STEPS: Final = 10  # fewer are hardly alike: one of an export takes seconds, the next minutes
_SHARE: Final = 0.05  # of the steps


class Pace:
    """Counts steps, and knows the time left once enough of them are done to tell.

    The steps of the first call are left out, with the time before it: files are opened in it,
    threads started and caches filled, and the others are quicker.

    Args:
        total: Steps of the whole.
        done: Those that were done before this run.
    """

    def __init__(self, total: int, done: int = 0) -> None:
        self._total = total
        self._done = done
        self._needed = max(_STEPS, _SHARE * (total - done))
        self._first: tuple[int, float] | None = None

    def advance(self, steps: int, now: float) -> float | None:
        """Count ``steps`` that were done at ``now``, and return the seconds left, if known.

        >>> pace = Pace(total=101)
        >>> pace.advance(1, now=60.0), pace.advance(4, now=62.0), pace.advance(6, now=65.0)
        (None, None, 45.0)
        """
        self._done += steps
        if self._first is None:
            self._first = (self._done, now)
            return None
        worked = self._done - self._first[0]
        if worked < self._needed:
            return None
        return (now - self._first[1]) / worked * (self._total - self._done)
