"""What a reader must know before believing a number: collected from the records, never hidden."""

from collections.abc import Iterator
from typing import Final

from edgekd.report.lineage import Collection, File, Network
from edgekd.report.speedups import fp32_file_ms

MAX_SPREAD: Final = 0.1
"""Interquartile range over median above which a machine was not quiet."""


def caveats(collection: Collection) -> tuple[str, ...]:
    """One sentence per doubt: noisy timings, int8 that lost time, skipped files, emulation."""
    return tuple(
        dict.fromkeys(  # a network that is both student and teacher is met twice
            sentence
            for network in collection.networks
            for sentence in (*_network_caveats(network), *_timing_caveats(network))
        )
    )


def _network_caveats(network: Network) -> Iterator[str]:
    data = network.provenance.data if network.provenance else None
    if data is not None and data.skipped_files:
        yield f"{network.label}: {data.skipped_files:,} unreadable file(s) of {data.source} skipped"
    if network.bundle is not None and network.bundle.uncounted_operators:
        names = ", ".join(network.bundle.uncounted_operators)
        yield f"{network.label}: MACs leave out operators that could not be counted ({names})"
    for note in network.bundle.notes if network.bundle is not None else ():
        yield f"{network.label}: {note}"
    if network.bundle is None and network.files:
        yield f"{network.label}: its bundle is not here, so its own metric and cost are missing"
    for file in network.files:
        yield from _file_caveats(file)


def _file_caveats(file: File) -> Iterator[str]:
    if file.exported is None:
        return
    if file.exported.audit.uncounted_operators:
        names = ", ".join(file.exported.audit.uncounted_operators)
        yield f"{file.label}: its int8 share leaves out uncounted operators ({names})"


def _timing_caveats(network: Network) -> Iterator[str]:
    named = [(file.label, measured) for file in network.files for measured in file.measured]
    named += [(f"{network.label} in torch", measured) for measured in network.torch]
    for label, measured in named:
        if measured.setting.emulated:
            yield (
                f"{measured.setting.device} is emulated: its latencies mean nothing and are not "
                "shown; its metric, sizes and memory are real"
            )
        elif measured.record.spread > MAX_SPREAD:
            yield (
                f"{label} ({measured.setting.label}): IQR/median of the latencies is "
                f"{measured.record.spread * 100:.0f} %, above {MAX_SPREAD * 100:.0f} %: the "
                "machine was not quiet; measure again"
            )
        if (data := measured.other_data) is not None:
            yield (
                f"{label} ({measured.setting.label}): its metric is of {data.source} (fingerprint "
                f"{data.fingerprint[:12]}), not of the data and split it was trained with"
            )
        for doubt in measured.record.doubts:
            yield f"{label} ({measured.setting.label}): {doubt}"
        if measured.record.busy_cores:
            yield (
                f"{label} ({measured.setting.label}): other work kept "
                f"{measured.record.busy_cores:.1f} cores busy; measure again"
            )
    for file in network.files:
        yield from _slow_int8(file, network)


def _slow_int8(file: File, network: Network) -> Iterator[str]:
    if not file.precision.startswith("int8"):
        return
    for measured in file.measured:
        own, fp32 = measured.p50_ms, fp32_file_ms(network, measured.setting, file.format)
        if own is not None and fp32 is not None and own > fp32:
            yield (
                f"{file.label} ({measured.setting.label}): int8 is slower than fp32 "
                f"({own:.3g} ms against {fp32:.3g} ms): here it saves space, not time"
            )
