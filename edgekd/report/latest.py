"""Which measurement of a file is shown in each setting, and which metric.

Times are those of the latest measurement. A metric is rather of the data that the network was
trained on, whatever was measured later: of other data it says nothing about the training.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from edgekd.records import DataRef, Measurement
from edgekd.report.lineage import Measured, Setting


def latest(
    records: Sequence[Measurement],
    device: Callable[[Measurement], str],
    *,
    trained_on: DataRef | None,
    has_metric: bool,
) -> tuple[Measured, ...]:
    """The measurement to show of each setting, in the order of the settings.

    Args:
        records: All measurements of one file, or of one network in torch.
        device: The label of the machine that a measurement was taken on.
        trained_on: The data of the network's training; ``None`` or without a fingerprint where
            they are not known: then any metric may be of them.
        has_metric: Whether the file's own record has a metric of these data, with all inputs.
    """
    settings: dict[Setting, list[Measurement]] = {}
    for record in records:
        setting = Setting(
            device=device(record),
            emulated=record.device_info.emulated,
            num_threads=record.num_threads,
            batch_size=record.batch_size,
            missing=record.missing,
        )
        taken = settings.setdefault(setting, [])
        if record not in taken:  # a copied measurements file repeats its lines
            taken.append(record)
    measured = [_measured(setting, taken, trained_on) for setting, taken in settings.items()]
    return tuple(sorted(_without_needless(measured, has_metric), key=_order))


_SAME, _UNKNOWN, _OTHER = range(3)  # best first


def _measured(
    setting: Setting, taken: Sequence[Measurement], trained_on: DataRef | None
) -> Measured:
    scored: dict[int, list[Measurement]] = {_SAME: [], _UNKNOWN: [], _OTHER: []}
    for record in taken:
        if record.metric is not None:
            scored[_kinship(record.data, trained_on)].append(record)
    best = next((kin for kin, records in scored.items() if records), None)
    shown = None if best is None else _newest(scored[best])
    return Measured(
        setting=setting,
        record=_newest(taken),
        num_older=len(taken) - 1,
        scored=shown,
        other_data=shown.data if shown is not None and best == _OTHER else None,
        num_other_metrics=len(scored[_OTHER]),
    )


def _kinship(data: DataRef | None, trained_on: DataRef | None) -> int:
    if data is None or trained_on is None or not trained_on.fingerprint:
        return _UNKNOWN
    return _SAME if data.fingerprint == trained_on.fingerprint else _OTHER


def _without_needless(measured: Sequence[Measured], has_metric: bool) -> list[Measured]:
    """A metric of other data goes where the file has one of its own, be it of another setting."""
    known = {
        entry.setting.missing
        for entry in measured
        if entry.scored is not None and entry.other_data is None
    }
    known |= {()} if has_metric else set()
    return [
        replace(entry, scored=None, other_data=None)
        if entry.other_data is not None and entry.setting.missing in known
        else entry
        for entry in measured
    ]


def _newest(records: Sequence[Measurement]) -> Measurement:
    return max(reversed(records), key=lambda record: record.created)


def _order(entry: Measured) -> tuple[str, int, int, tuple[str, ...]]:
    setting = entry.setting
    return setting.device, setting.num_threads, setting.batch_size, setting.missing
