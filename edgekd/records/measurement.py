"""What a device is, and what was measured on it."""

import math
from collections.abc import Sequence

from pydantic import Field

from edgekd.records.base import BUSY_CORES, SCHEMA, Format, Precision, Record
from edgekd.records.bundle import DataRef, Metric


class DeviceInfo(Record):
    """Where a measurement was taken; what could not be read is ``None``, never guessed."""

    name: str
    board: str | None
    cpu: str | None
    arch: str
    os: str | None
    kernel: str | None
    python: str
    cpu_count: int | None
    memory_bytes: int | None
    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    load_average: float | None
    emulated: bool = False
    """Whether another processor plays this one: then times mean nothing and are not shown."""
    runtime_versions: dict[str, str] = Field(default_factory=dict)
    unknown: dict[str, str] = Field(default_factory=dict)
    """Field that is ``None`` -> where it was looked for in vain."""


class MachineState(Record):
    """What changes on a device from one moment to the next; unknown is ``None``."""

    governor: str | None
    frequency_mhz: float | None
    temperature_c: float | None
    throttled: str | None
    load_average: float | None


class Energy(Record):
    """Energy of one inference, over many of them in a row, idle consumption included."""

    source: str
    """Where it was read, and of what: a processor's package, a board's rails, a whole board."""
    joules_per_inference: float = Field(ge=0)
    idle_watts: float = Field(ge=0)
    """Of the same source, while the process slept just before."""
    num_inferences: int = Field(ge=1)


class SustainedPoint(Record):
    """One stretch of a sustained run."""

    at_seconds: float
    """Its end, since the run's first call."""
    num_calls: int
    p50_ns: int
    temperature_c: float | None
    frequency_mhz: float | None


class Sustained(Record):
    """Calls without a pause for a long time: what heat does to latency."""

    seconds: float
    first_p50_ns: int
    """Median over the first tenth of the time."""
    last_p50_ns: int
    """Median over the last tenth of the time."""
    points: tuple[SustainedPoint, ...]


class Measurement(Record):
    """Raw times of one file on one device with one thread count; statistics are derived."""

    schema_: int = Field(default=SCHEMA, alias="schema")
    file: str
    model_sha256: str
    source_sha256: str | None
    format: Format
    precision: Precision
    device: str
    device_info: DeviceInfo
    runtime: str
    num_threads: int = Field(ge=1)
    batch_size: int = Field(ge=1)
    num_warmup: int = Field(ge=0)
    latencies_ns: tuple[int, ...] = Field(min_length=1)
    encode_ns: int | None
    """Median of the encode half; ``None`` where no record says how samples are encoded."""
    decode_ns: int
    load_ns: int
    first_invoke_ns: int
    baseline_rss_bytes: int
    """Resident memory of the measuring process just before the model was loaded."""
    peak_rss_bytes: int
    """Highest resident memory minus ``baseline_rss_bytes``: what the model and runtime added."""
    size_bytes: int
    metric: Metric | None
    data: DataRef | None = None
    """Of the metric; ``None`` where there is none, and in older records."""
    missing: tuple[str, ...] = ()
    """Inputs that were fed their training mean instead of samples."""
    before: MachineState | None = None
    after: MachineState | None = None
    other_load: float | None = None
    """Cores that other processes kept busy while calls were timed."""
    energy: Energy | None = None
    energy_unknown: str | None = None
    """Why there is no ``energy``."""
    sustained: Sustained | None = None
    created: str

    def percentile_ms(self, q: float) -> float | None:
        """The ``q``-th latency percentile in ms (0 to 100), linearly interpolated.

        ``None`` where too few calls support it: a percentile needs at least ``100 / (100 - q)``
        calls above it, so the 99th needs 100.
        """
        if not 0 <= q < 100:
            raise ValueError(f"q must be in [0, 100), found {q}")
        if len(self.latencies_ns) * (100 - q) < 100 - 1e-9:
            return None
        return _percentile(sorted(self.latencies_ns), q) / 1e6

    @property
    def cold_start_ms(self) -> float:
        """Load plus first inference, in ms."""
        return (self.load_ns + self.first_invoke_ns) / 1e6

    @property
    def spread(self) -> float:
        """Interquartile range over median: above 0.1 the machine was not quiet."""
        ordered = sorted(self.latencies_ns)
        q1, median, q3 = (_percentile(ordered, q) for q in (25, 50, 75))
        return (q3 - q1) / median if median else 0.0

    @property
    def threads_share_cores(self) -> bool:
        """Whether there were more threads than cores: then they wait for each other."""
        cores = self.device_info.cpu_count
        return cores is not None and self.num_threads > cores

    @property
    def doubts(self) -> tuple[str, ...]:
        """What of the device's state makes its times worse than they can be; none if emulated."""
        if self.device_info.emulated or self.before is None or self.after is None:
            return ()
        found = []
        throttled = self.after.throttled
        if throttled not in (None, "no", self.before.throttled):
            found.append(f"it throttled while it was measured ({throttled})")
        elif throttled is not None and "now" in throttled:
            found.append(f"it is throttled ({throttled}): look at its supply and its cooling")
        elif throttled is not None and "under-voltage" in throttled:
            found.append(f"its supply is weak ({throttled})")
        if self.after.governor not in (None, "performance"):
            found.append(f"its governor is {self.after.governor}, not performance")
        return tuple(found)

    @property
    def busy_cores(self) -> float:
        """Cores that other work took away; 0 where it is unknown, little, or of an emulation."""
        if self.device_info.emulated or self.other_load is None or self.other_load <= BUSY_CORES:
            return 0.0
        return self.other_load


def _percentile(ordered: Sequence[int], q: float) -> float:
    position = (len(ordered) - 1) * q / 100
    low = math.floor(position)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (position - low)
