"""From records to lineages: which teacher taught which student, and which files came of it.

The links are sha256 sums: a file's ``source_sha256`` is its bundle's ``weights_sha256``, a
measurement's ``model_sha256`` is its file's, and a bundle's provenance names its teacher's.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from edgekd.records import (
    DataRef,
    DeviceInfo,
    ExportedModel,
    Measurement,
    StudentBundle,
    TeacherRef,
)
from edgekd.report.latest import latest
from edgekd.report.lineage import Collection, File, Group, Lineage, Measured, Network
from edgekd.report.walk import Found, Located, find


def collect(roots: Sequence[Path]) -> Collection:
    """Read the records under ``roots`` and link them.

    Raises:
        UsageError: If a root is missing or holds no record.
        BundleError: If a record is damaged or of an unknown schema.
    """
    found = find(roots)
    devices = _name_devices(entry.record for entry in found.measurements)
    networks = _told_apart(_networks(found, devices))
    return Collection(
        groups=_groups(networks),
        devices=tuple((label, info) for label, info in devices.values()),
        unfinished=found.unfinished,
        copies=(*_copies(found.bundles), *_copies(found.exported)),
    )


def _copies(
    entries: Iterable[Located[StudentBundle]] | Iterable[Located[ExportedModel]],
) -> Iterator[tuple[str, str]]:
    """What is left out beside the first of its kind, and that one."""
    first: dict[str, str] = {}
    for entry in entries:
        record = entry.record
        sha = record.weights_sha256 if isinstance(record, StudentBundle) else record.sha256
        shown = first.setdefault(sha, entry.label)
        if shown != entry.label:
            yield entry.label, shown


_DeviceKey = tuple[object, ...]
_Devices = dict[_DeviceKey, tuple[str, DeviceInfo]]


def _device_key(measurement: Measurement) -> _DeviceKey:
    """What makes a machine another machine; load, clock and temperature do not."""
    info = measurement.device_info
    return (
        measurement.device, info.name, info.board, info.cpu, info.arch, info.cpu_count,
        info.emulated,
    )  # fmt: skip


def _name_devices(measurements: Iterable[Measurement]) -> _Devices:
    """Label each machine; two machines that share a name are numbered, never merged.

    A measurement knows only the runtime it used: the versions of all of them are shown.
    """
    latest: dict[_DeviceKey, Measurement] = {}
    versions: dict[_DeviceKey, dict[str, str]] = {}
    for measurement in sorted(measurements, key=lambda measurement: measurement.created):
        key = _device_key(measurement)
        latest[key] = measurement
        versions.setdefault(key, {}).update(measurement.device_info.runtime_versions)
    shared = Counter(measurement.device for measurement in latest.values())
    numbers: Counter[str] = Counter()
    devices: _Devices = {}
    for key, measurement in latest.items():
        numbers[measurement.device] += 1
        suffix = f" #{numbers[measurement.device]}" if shared[measurement.device] > 1 else ""
        info = measurement.device_info.model_copy(update={"runtime_versions": versions[key]})
        devices[key] = (measurement.device + suffix, info)
    return devices


def _networks(found: Found, devices: _Devices) -> tuple[Network, ...]:
    bundles = {entry.record.weights_sha256: entry for entry in reversed(found.bundles)}
    exported = {entry.record.sha256: entry for entry in reversed(found.exported)}
    by_model: dict[str, list[Measurement]] = {}
    for entry in found.measurements:
        by_model.setdefault(entry.record.model_sha256, []).append(entry.record)

    sources = dict.fromkeys(entry.record.weights_sha256 for entry in found.bundles)
    sources |= dict.fromkeys(entry.record.source_sha256 for entry in found.exported)
    sources |= dict.fromkeys(
        _source_of(record, exported) for records in by_model.values() for record in records
    )
    return tuple(
        _network(source, bundles.get(source), exported, by_model, found, devices)
        for source in sources
    )


def _told_apart(networks: Sequence[Network]) -> tuple[Network, ...]:
    """Files are named by their path where one name stands for several: exports are called alike."""
    names = Counter(file.name for network in networks for file in network.files)
    if all(count == 1 for count in names.values()):
        return tuple(networks)
    return tuple(
        replace(network, files=tuple(replace(file, name=file.label) for file in network.files))
        for network in networks
    )


def _source_of(record: Measurement, exported: dict[str, Located[ExportedModel]]) -> str:
    if record.model_sha256 in exported:
        return exported[record.model_sha256].record.source_sha256
    return record.source_sha256 or record.model_sha256


def _network(
    source: str,
    entry: Located[StudentBundle] | None,
    exported: dict[str, Located[ExportedModel]],
    by_model: dict[str, list[Measurement]],
    found: Found,
    devices: _Devices,
) -> Network:
    own = {sha: at for sha, at in exported.items() if at.record.source_sha256 == source}
    data = _trained_on(entry, [at.record for at in own.values()])
    files = [
        _file(at.label, at.record, by_model.get(sha, []), devices, data) for sha, at in own.items()
    ]
    torch: list[Measured] = []
    for sha, records in by_model.items():
        if sha in exported or _source_of(records[0], exported) != source:
            continue
        if records[0].format == "torch":
            torch += _latest(records, devices, data)
        else:  # the file's own record is gone, but its measurements tell enough
            files.append(_file(records[0].file, records[0], records, devices, data))
    return Network(
        label=entry.label if entry else _unseen_label(files, source),
        sha256=source,
        bundle=entry.record if entry else None,
        files=tuple(sorted(files, key=_file_order)),
        torch=tuple(torch),
        history=found.histories.get(entry.path.parent, ()) if entry else (),
    )


def _trained_on(
    entry: Located[StudentBundle] | None, files: Sequence[ExportedModel]
) -> DataRef | None:
    if entry is not None:
        return entry.record.provenance.data
    return next((file.provenance.data for file in files if file.provenance is not None), None)


def _unseen_label(files: Sequence[File], source: str) -> str:
    return f"source of {files[0].label}" if files else f"weights {source[:12]}"


def _file(
    label: str,
    record: ExportedModel | Measurement,
    measurements: Sequence[Measurement],
    devices: _Devices,
    trained_on: DataRef | None,
) -> File:
    exported = record if isinstance(record, ExportedModel) else None
    has_metric = (
        exported is not None and bool(exported.metrics) and not exported.judged_on_other_data
    )
    return File(
        label=label,
        name=Path(record.file).name,
        format=record.format,
        precision=record.precision,
        exported=exported,
        measured=_latest(measurements, devices, trained_on, has_metric=has_metric),
    )


def _latest(
    records: Sequence[Measurement],
    devices: _Devices,
    trained_on: DataRef | None,
    *,
    has_metric: bool = False,
) -> tuple[Measured, ...]:
    return latest(
        records,
        lambda record: devices[_device_key(record)][0],
        trained_on=trained_on,
        has_metric=has_metric,
    )


def _file_order(file: File) -> tuple[str, bool, str, str]:
    return file.format, file.precision != "fp32", file.precision, file.label


def _groups(networks: Sequence[Network]) -> tuple[Group, ...]:
    known = {network.sha256: network for network in networks}
    taught = [network for network in networks if _teacher_ref(network) is not None]
    teachers = {ref.sha256 for network in taught if (ref := _teacher_ref(network)) is not None}
    untaught = [
        network
        for network in networks
        if _teacher_ref(network) is None and network.sha256 not in teachers
    ]
    lineages: dict[str | None, dict[str | None, list[Network]]] = {}
    for network in (*taught, *untaught):  # students of a teacher come before those without one
        ref = _teacher_ref(network)
        teacher_key = None if ref is None else ref.sha256 or ref.source
        fingerprint = network.provenance.data.fingerprint if network.provenance else None
        lineages.setdefault(fingerprint, {}).setdefault(teacher_key, []).append(network)
    return tuple(
        Group(
            source=_data_source(next(iter(by_teacher.values()))[0]),
            fingerprint=fingerprint,
            lineages=tuple(
                Lineage(
                    teacher_ref=_teacher_ref(students[0]),
                    teacher=known.get(key) if key is not None else None,
                    students=tuple(students),
                )
                for key, students in by_teacher.items()
            ),
        )
        for fingerprint, by_teacher in lineages.items()
    )


def _teacher_ref(network: Network) -> TeacherRef | None:
    return network.provenance.teacher if network.provenance else None


def _data_source(network: Network) -> str | None:
    return network.provenance.data.source if network.provenance else None
