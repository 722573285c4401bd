"""What a reader must know before believing a number: collected from the records, never hidden."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from edgekd.report.document import Listing, Section
from edgekd.report.lineage import Collection, File, Lineage, Measured, Network
from edgekd.report.speedups import fp32_file_ms

MAX_SPREAD: Final = 0.1
"""Interquartile range over median above which a machine was not quiet."""


@dataclass(frozen=True, kw_only=True)
class Caveat:
    """One doubt about one network, file or device."""

    about: str
    doubt: str
    of_several: str
    """The doubt without what only this one has: what several of a kind share."""

    @property
    def sentence(self) -> str:
        """Of this one alone."""
        return f"{self.about}: {self.doubt}"


def find_caveats(collection: Collection) -> tuple[Caveat, ...]:
    """Every doubt: noisy timings, int8 that lost time, skipped files, emulation and others."""
    caveats = (
        caveat
        for network in collection.networks
        for caveat in (*_network_caveats(network), *_timing_caveats(network))
    )
    lineages = [lineage for group in collection.groups for lineage in group.lineages]
    return tuple(
        dict.fromkeys(  # a network that is both student and teacher is met twice
            (
                *caveats,
                *_absent_teachers(lineages),
                *map(_unfinished, collection.unfinished),
                *(_copy(label, shown) for label, shown in collection.copies),
            )
        )
    )


def put_together(caveats: Sequence[Caveat]) -> tuple[str, ...]:
    """One sentence per kind of doubt: where there are several, the first and how many more."""
    kinds: dict[str, list[Caveat]] = {}
    for caveat in caveats:
        kinds.setdefault(caveat.of_several, []).append(caveat)
    return tuple(
        alike[0].sentence
        if len(alike) == 1
        else f"{alike[0].about} and {len(alike) - 1} more: {kind}"
        for kind, alike in kinds.items()
    )


def caveat_section(caveats: Sequence[Caveat]) -> Section | None:
    """All doubts one by one, folded away; ``None`` where each is told at the top already."""
    sentences = tuple(caveat.sentence for caveat in caveats)
    if len(put_together(caveats)) == len(sentences):
        return None
    listing = Listing(label=f"All {len(sentences):,} remarks", lines=sentences)
    return Section(title="Read with care, one by one", listings=(listing,))


def _caveat(about: str, doubt: str, of_several: str = "") -> Caveat:
    return Caveat(about=about, doubt=doubt, of_several=of_several or doubt)


def _unfinished(folder: str) -> Caveat:
    return _caveat(
        folder,
        "its training has not finished; --resume goes on with it",
        "their trainings have not finished; --resume goes on with them",
    )


def _copy(label: str, shown: str) -> Caveat:
    return _caveat(
        label,
        f"equal to {shown} in every bit, which alone is shown",
        "equal to another in every bit, which alone is shown",
    )


def _absent_teachers(lineages: Iterable[Lineage]) -> Iterator[Caveat]:
    for lineage in lineages:
        ref = lineage.teacher_ref
        if ref is not None and ref.kind == "bundle" and lineage.teacher is None:
            yield _caveat(
                ref.source,
                "the weights that taught are not here (elsewhere, or replaced by a later run), so "
                "the teacher has no metric",
            )


def _network_caveats(network: Network) -> Iterator[Caveat]:
    data = network.provenance.data if network.provenance else None
    if data is not None and data.skipped_files:
        skipped = f"unreadable file(s) of {data.source} skipped"
        yield _caveat(network.label, f"{data.skipped_files:,} {skipped}", skipped)
    if network.bundle is not None and network.bundle.uncounted_operators:
        names = ", ".join(network.bundle.uncounted_operators)
        left_out = "MACs leave out operators that could not be counted"
        yield _caveat(network.label, f"{left_out} ({names})", left_out)
    for note in network.bundle.notes if network.bundle is not None else ():
        yield _caveat(network.label, note)
    if network.bundle is None and network.files:
        yield _caveat(
            network.label,
            "its bundle is not here, so its own metric and cost are missing",
            "their bundles are not here, so their own metrics and costs are missing",
        )
    for file in network.files:
        yield from _file_caveats(file)


def _file_caveats(file: File) -> Iterator[Caveat]:
    if file.exported is None:
        return
    if file.exported.audit.uncounted_operators:
        names = ", ".join(file.exported.audit.uncounted_operators)
        left_out = "int8 share leaves out uncounted operators"
        yield _caveat(file.label, f"its {left_out} ({names})", f"the {left_out}")


def _timing_caveats(network: Network) -> Iterator[Caveat]:
    named = [(file.label, measured) for file in network.files for measured in file.measured]
    named += [(f"{network.label} in torch", measured) for measured in network.torch]
    for label, measured in named:
        yield from _measured_caveats(f"{label} ({measured.setting.label})", measured)
    for file in network.files:
        yield from _slow_int8(file, network)


def _measured_caveats(about: str, measured: Measured) -> Iterator[Caveat]:
    if measured.setting.emulated:
        yield _caveat(
            measured.setting.device,
            "it is emulated: its latencies mean nothing and are not shown; its metric, sizes and "
            "memory are real",
        )
    elif measured.record.spread > MAX_SPREAD:
        yield _unquiet(about, measured)
    if (data := measured.other_data) is not None:
        other = "not of the data and split it was trained with"
        yield _caveat(
            about,
            f"its metric is of {data.source} (fingerprint {data.fingerprint[:12]}), {other}",
            f"the metric is of other data, {other}",
        )
    for doubt in measured.record.doubts:
        yield _caveat(about, doubt)
    if busy := measured.record.busy_cores:
        yield _caveat(
            about,
            f"other work kept {busy:.1f} cores busy; measure again",
            "other work kept cores busy; measure again",
        )


def _unquiet(about: str, measured: Measured) -> Caveat:
    """Of calls that took unequally long."""
    limit = f"above {MAX_SPREAD * 100:.0f} %"
    record = measured.record
    cause = "the machine was not quiet; measure again"
    if record.threads_share_cores:
        cause = "more threads than cores are the likely cause; measure with fewer"
    return _caveat(
        about,
        f"IQR/median of the latencies is {record.spread * 100:.0f} %, {limit}: {cause}",
        f"IQR/median of the latencies is {limit}: {cause}",
    )


def _slow_int8(file: File, network: Network) -> Iterator[Caveat]:
    if not file.precision.startswith("int8"):
        return
    slower, saves = "int8 is slower than fp32", "here it saves space, not time"
    for measured in file.measured:
        own, fp32 = measured.p50_ms, fp32_file_ms(network, measured.setting, file.format)
        if own is not None and fp32 is not None and own > fp32:
            yield _caveat(
                f"{file.label} ({measured.setting.label})",
                f"{slower} ({own:.3g} ms against {fp32:.3g} ms): {saves}",
                f"{slower}: {saves}",
            )
