"""What a report knows: lineages of a teacher, its students and the files made from each."""

from dataclasses import dataclass

from edgekd.records import (
    DataRef,
    DeviceInfo,
    ExportedModel,
    Measurement,
    Metric,
    Provenance,
    StudentBundle,
    TeacherRef,
)
from edgekd.report.walk import Epoch


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What must be equal before two latencies, or two metrics on a device, may be compared."""

    device: str
    emulated: bool
    num_threads: int
    batch_size: int
    missing: tuple[str, ...] = ()
    """Inputs that were fed their mean instead of samples."""

    @property
    def label(self) -> str:
        """For example ``local, 1 thread``; the batch is named where it is not 1."""
        threads = f"{self.num_threads} thread{'s' if self.num_threads > 1 else ''}"
        batch = f", batch {self.batch_size}" if self.batch_size > 1 else ""
        without = f", without {' and '.join(self.missing)}" if self.missing else ""
        return f"{self.device}, {threads}{batch}{without}{', emulated' if self.emulated else ''}"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """The latest measurement of one file in one setting."""

    setting: Setting
    record: Measurement
    num_older: int
    scored: Measurement | None = None
    """The one whose metric is shown: the latest on the data of the training, else the latest that
    has one. A bench without data, or with other data, hides no metric of an earlier one."""
    other_data: DataRef | None = None
    """Of that metric, where they are not what the network was trained on."""
    num_other_metrics: int = 0
    """How many measurements in this setting have a metric of other data, shown or not."""

    @property
    def metric(self) -> Metric | None:
        """Of the file in this setting, where it was ever measured."""
        return self.scored.metric if self.scored is not None else None

    @property
    def p50_ms(self) -> float | None:
        """Median latency, or ``None`` on an emulated device, where it means nothing."""
        return self.percentile_ms(50)

    def percentile_ms(self, q: float) -> float | None:
        """A latency percentile, or ``None`` where emulated or where too few calls support it."""
        return None if self.setting.emulated else self.record.percentile_ms(q)

    @property
    def cold_start_ms(self) -> float | None:
        """Load plus first inference, or ``None`` on an emulated device."""
        return None if self.setting.emulated else self.record.cold_start_ms


@dataclass(frozen=True, kw_only=True)
class File:
    """A model file: its record where one was found, and what was measured of it."""

    label: str
    name: str
    """Of the file alone, or with its path where several files of a report are called alike."""
    format: str
    precision: str
    exported: ExportedModel | None
    measured: tuple[Measured, ...]

    @property
    def kind(self) -> str:
        """Its precision, and whether a training made it bear that."""
        recovered = self.exported is not None and self.exported.recovery is not None
        return f"{self.precision}, recovered" if recovered else self.precision


@dataclass(frozen=True, kw_only=True)
class Network:
    """Trained weights: their bundle where one was found, and the files made from them."""

    label: str
    sha256: str
    bundle: StudentBundle | None
    files: tuple[File, ...]
    torch: tuple[Measured, ...]
    """Measurements of the network itself in torch."""
    history: tuple[Epoch, ...]

    @property
    def provenance(self) -> Provenance | None:
        """The bundle's, or what its files carry of it."""
        if self.bundle is not None:
            return self.bundle.provenance
        carried = (file.exported.provenance for file in self.files if file.exported is not None)
        return next((provenance for provenance in carried if provenance is not None), None)


@dataclass(frozen=True, kw_only=True)
class Lineage:
    """One teacher and its students, or students that had no teacher."""

    teacher_ref: TeacherRef | None
    teacher: Network | None
    """The teacher's own records, where they lie under the roots too."""
    students: tuple[Network, ...]

    @property
    def teacher_metrics(self) -> tuple[Metric, ...]:
        """The teacher's own, where its bundle is here."""
        bundle = self.teacher.bundle if self.teacher else None
        return bundle.metrics if bundle else ()

    @property
    def teacher_cost(self) -> tuple[int | None, int | None]:
        """The teacher's parameters and MACs: of its bundle, else as its students noted them."""
        bundle = self.teacher.bundle if self.teacher else None
        if bundle is not None:
            return bundle.num_params, bundle.macs
        ref = self.teacher_ref
        return (ref.num_params, ref.macs) if ref else (None, None)


@dataclass(frozen=True, kw_only=True)
class Group:
    """Everything learned from one data set; only within a group do numbers compare."""

    source: str | None
    fingerprint: str | None
    lineages: tuple[Lineage, ...]

    @property
    def networks(self) -> tuple[Network, ...]:
        """Every network of the group once, teachers before their students."""
        ordered = [
            network
            for lineage in self.lineages
            for network in (lineage.teacher, *lineage.students)
            if network is not None
        ]
        return tuple({network.sha256: network for network in ordered}.values())


@dataclass(frozen=True, kw_only=True)
class Collection:
    """All that a report shows."""

    groups: tuple[Group, ...]
    devices: tuple[tuple[str, DeviceInfo], ...]
    """Label and what the latest measurement there said of it."""
    unfinished: tuple[str, ...] = ()
    """Folders of trainings that have not finished."""
    copies: tuple[tuple[str, str], ...] = ()
    """What holds the same weights, or bytes, as something shown: its label and that one's."""

    @property
    def networks(self) -> tuple[Network, ...]:
        """Every network once."""
        all_networks = [network for group in self.groups for network in group.networks]
        return tuple({network.sha256: network for network in all_networks}.values())
