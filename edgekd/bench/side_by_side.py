"""Several devices at once, a thread each: they work, this machine only waits for them."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from edgekd.bench.measure import Plan, measure_on
from edgekd.console import Console, Tracker
from edgekd.errors import EdgekdError

_LOOK_SECONDS: Final = 0.2  # how soon Ctrl-C is noticed


def measure_side_by_side(names: Sequence[str], plan: Plan, console: Console) -> None:
    """Measure on every device; one that fails does not stop the others.

    Args:
        names: The devices, each once.
        plan: What to measure.
        console: Every line is told with its device's name.

    Raises:
        EdgekdError: The first device's failure, after all have ended; the others' are warnings.
        KeyboardInterrupt: On Ctrl-C, after all have stopped.
    """
    stopping = threading.Event()
    failures: dict[str, BaseException] = {}

    total = sum(len(plan.left_on(name)) for name in names)
    with console.track(f"{len(names)} devices", total) as tracker:
        speaking = threading.Lock()

        def work(name: str, voice: Console) -> None:
            try:
                measure_on(name, plan, voice, stop=stopping.is_set, done=tracker.advance)
            except BaseException as error:  # raised again below, in the thread that may raise it
                failures[name] = error

        threads = [
            threading.Thread(target=work, args=(name, _Voice(name, console, speaking)), name=name)
            for name in names
        ]
        for thread in threads:
            thread.start()
        try:
            _wait_for(threads)
        except KeyboardInterrupt:
            stopping.set()
            _wait_for(threads)
            raise
    _raise(failures, console)


def _wait_for(threads: Sequence[threading.Thread]) -> None:
    for thread in threads:
        while thread.is_alive():
            thread.join(_LOOK_SECONDS)


def _raise(failures: dict[str, BaseException], console: Console) -> None:
    for error in failures.values():
        if not isinstance(error, EdgekdError):
            raise error  # a bug of ours
    first, *others = failures.values() or (None,)
    for error in others:
        console.warn(str(error))
    if first is not None:
        raise first


class _Voice:
    """A console for one of several threads; what it tracks is said, not drawn."""

    def __init__(self, name: str, console: Console, speaking: threading.Lock) -> None:
        self._name = name
        self._console = console
        self._speaking = speaking

    def info(self, text: str) -> None:
        self._say(self._console.info, text)

    def warn(self, text: str) -> None:
        self._say(self._console.warn, text)

    @contextmanager
    def track(self, description: str, total: int, done: int = 0) -> Iterator[Tracker]:
        self.info(description)
        yield _Still()

    def _say(self, speak: Callable[[str], None], text: str) -> None:
        named = text if text.startswith(self._name) else f"{self._name}: {text}"
        with self._speaking:
            speak(named)


class _Still:
    """A bar within a bar is not drawn."""

    def advance(self, steps: int = 1) -> None:
        pass

    def describe(self, text: str) -> None:
        pass
