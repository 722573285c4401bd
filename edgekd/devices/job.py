"""What the runner is asked and what it answers: plain values, JSON on both sides.

Standard library only: the runner reads these on a board.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from edgekd.errors import DeviceError

PROTOCOL: Final = 3
"""Version of jobs and events; host and runner must agree."""

Latencies = tuple[int, ...]
"""Times of one file in ns, one per round of a race."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """One model, one thread count: what to load, how often to call it, what to predict.

    With ``samples`` the latency input is their first row, and where ``logits`` is given all rows
    are predicted. Without, it is drawn at random from ``seed``.
    """

    kind: ClassVar[str] = "measure"

    model: str
    """Path of the file, or of the bundle folder for the baseline."""
    num_threads: int
    num_warmup: int
    num_calls: int
    min_seconds: float
    """Calls go on until both ``num_calls`` and this much time have passed."""
    seed: int = 0
    encodings: tuple[Mapping[str, Any], ...] = ()
    """One :class:`~edgekd.runtimes.encoding.InputEncoding` per input as plain values; none for
    a file of which only the tensors are known."""
    samples: tuple[str, ...] = ()
    """One ``.npy`` of decoded samples per encoding."""
    logits: str | None = None
    """Where float32 ``(N, K)`` logits of all samples go, as ``.npy``."""
    sustain_seconds: float = 0.0
    """How long calls go on without a pause, to see what heat does to them; 0 for not at all."""
    energy_seconds: float = 0.0
    """How long calls go on while power is read, where the device can tell; 0 for not at all."""

    def to_json(self) -> str:
        """The job as one JSON object."""
        return _to_json(self)

    @property
    def name(self) -> str:
        """How to name the model in a message."""
        return Path(self.model).name


@dataclass(frozen=True, kw_only=True)
class RaceJob:
    """Files of one format, timed against each other in one process."""

    kind: ClassVar[str] = "race"

    files: tuple[str, ...]
    num_threads: int
    seconds: float
    """About how long each file is timed, loading not included."""

    def to_json(self) -> str:
        """The job as one JSON object."""
        return _to_json(self)


def read_job(text: str) -> Job | RaceJob:
    """The inverse of ``to_json``.

    Raises:
        DeviceError: If host and runner speak different versions.
    """
    fields = json.loads(text)
    protocol, kind = fields.pop("protocol", None), fields.pop("kind", None)
    if protocol != PROTOCOL:
        raise DeviceError(
            f"the job speaks protocol {protocol}, this runner {PROTOCOL}; "
            "install the same edgekd on both sides"
        )
    for key, value in fields.items():
        if isinstance(value, list):  # JSON knows no tuples
            fields[key] = tuple(value)
    return RaceJob(**fields) if kind == RaceJob.kind else Job(**fields)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What the runner measured, as it came; times in ns, memory in bytes."""

    runtime: str
    runtime_version: str
    batch_size: int
    num_warmup: int
    load_ns: int
    first_invoke_ns: int
    latencies_ns: tuple[int, ...]
    encode_ns: int | None
    """Median; ``None`` where nothing says how a sample is encoded."""
    decode_ns: int
    """Median."""
    baseline_rss_bytes: int
    """Resident memory with numpy and the runtime imported, just before the model is loaded."""
    peak_rss_bytes: int
    """Highest resident memory until the model is warm, minus the baseline; so the list of times,
    which grows afterwards, is not in it."""
    peak_was_reset: bool
    """Whether the kernel let the runner forget the memory that imports used and gave back;
    if not, ``peak_rss_bytes`` is an upper bound."""
    precision: str
    """What the file computes in, told from its operators."""
    before: Mapping[str, Any]
    """The device's state just before the model was loaded (:func:`~edgekd.devices.probe.state`)."""
    after: Mapping[str, Any]
    """The same just after the last timed call."""
    other_load: float | None
    """Cores that other processes kept busy while calls were timed."""
    energy: Mapping[str, Any] | None = None
    energy_unknown: str | None = None
    """Why there is no ``energy``."""
    sustained: Mapping[str, Any] | None = None

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Outcome":
        """Rebuild from the fields of a result event.

        Raises:
            DeviceError: If fields are missing or unknown.
        """
        try:
            return cls(**{**fields, "latencies_ns": tuple(fields["latencies_ns"])})
        except (TypeError, KeyError) as error:
            raise DeviceError(
                f"the runner's result is not one of protocol {PROTOCOL} ({error}); "
                "install the same edgekd on both sides"
            ) from error


def _to_json(job: Job | RaceJob) -> str:
    return json.dumps({"protocol": PROTOCOL, "kind": job.kind, **asdict(job)})
