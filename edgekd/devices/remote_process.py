"""A runner on a board, followed through the session that started it."""

from collections.abc import Iterator, Mapping
from typing import Any

from edgekd.devices.session import ANSWER_SECONDS, Session


class RemoteProcess:
    """A runner on the board; what an earlier one still says is not taken for its words."""

    def __init__(self, session: Session, run: int) -> None:
        self._session = session
        self._run = run
        self._ended: list[Mapping[str, Any]] = []

    def lines(self) -> Iterator[bytes]:
        """What it writes on its standard output, until it ends."""
        while not self._ended:
            event = self._session.next_event(ANSWER_SECONDS)
            if event.get("run") != self._run:
                continue
            if event["event"] == "line":
                yield event["line"].encode()
            elif event["event"] == "ended":
                self._ended.append(event)

    def kill(self) -> None:
        """End it now."""
        self._session.kill_runner()

    def wait(self) -> int:
        """Its exit status; minus the signal's number where one ended it."""
        return int(self._end()["status"])

    def last_words(self) -> str:
        """The last line it wrote on standard error, or nothing."""
        lines = str(self._end()["stderr"]).split("\n")
        return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "")

    def close(self) -> None:
        """End it, if it has not ended."""
        if not self._ended:
            self.kill()

    def _end(self) -> Mapping[str, Any]:
        if not self._ended:
            for _ in self.lines():
                pass
        return self._ended[0]
