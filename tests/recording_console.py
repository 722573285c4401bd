"""A console that remembers what it was told."""


class RecordingTracker:
    """A progress bar as numbers."""

    def __init__(self, total: int, done: int) -> None:
        self.total, self.done = total, done

    def __enter__(self) -> "RecordingTracker":
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def advance(self, steps: int = 1) -> None:
        self.done += steps

    def describe(self, text: str) -> None:
        self.text = text


class RecordingConsole:
    """Lines, warnings and the last progress bar; warnings are not raised."""

    def __init__(self) -> None:
        self.infos: list[str] = []
        self.warnings: list[str] = []
        self.tracker = RecordingTracker(0, 0)

    def info(self, text: str) -> None:
        self.infos.append(text)

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def track(self, description: str, total: int, done: int = 0) -> RecordingTracker:
        self.tracker = RecordingTracker(total, done)
        return self.tracker
