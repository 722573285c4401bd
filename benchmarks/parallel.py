"""Several trainings at a time."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

T = TypeVar("T")


def side_by_side(jobs: int, calls: Iterable[Callable[[], T]]) -> list[T]:
    """Call all, ``jobs`` at a time, in order; what they return, in that order too.

    When one fails, or on Ctrl-C, nothing further starts, and what runs is waited for: a training
    that was interrupted still writes its checkpoint.

    Raises:
        BaseException: The first failure.
    """
    pool = ThreadPoolExecutor(jobs)
    try:
        started = [pool.submit(call) for call in calls]
        for ended in as_completed(started):
            ended.result()
        return [call.result() for call in started]
    finally:
        pool.shutdown(cancel_futures=True)
