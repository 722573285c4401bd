"""The gate between a converter and the user: a file is audited, compared and then described."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from edgekd.bundle import sha256_of
from edgekd.errors import ExportError
from edgekd.export.audit import FileFacts, audit_file
from edgekd.export.formats import FORMATS, Candidate, Source, batch_sizes
from edgekd.export.int8_checks import check_int8
from edgekd.export.metadata import EmbeddedMetadata
from edgekd.export.parity import Logits, Reference, compare, problems, run_session
from edgekd.export.quantization.calibration import input_encoding
from edgekd.export.quantization.recipe import Mode
from edgekd.export.quantization.sizes import size_problem
from edgekd.export.quiet import quiet_stderr
from edgekd.records import ExportedModel, TensorSpec
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.session import open_session
from edgekd.students.count import Cost

_ASKED: Final[Mapping[Mode, str]] = {
    "fast": "int8",  # whichever kind was measured to be fastest
    "full": "int8",  # of the operators that are not, a list is more help
    "weights": "int8-weights",
    "dynamic": "int8-dynamic",
}


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What was found of a candidate.

    Attributes:
        model: Its record; ``None`` where its answers are no numbers, and nothing can be compared.
        problems: Why it is refused; empty if it is not.
    """

    candidate: Candidate
    model: ExportedModel | None
    problems: tuple[str, ...]

    @property
    def file(self) -> str:
        """What it is called where it is published."""
        return self.candidate.path.name

    @property
    def metric_drop(self) -> float | None:
        """Of its record; ``None`` also where it has none."""
        return None if self.model is None else self.model.parity.metric_drop


def verify(
    candidate: Candidate, source: Source, reference: Reference, cost: Cost, versions: dict[str, str]
) -> Verdict:
    """Complete a candidate with its metadata, look at what it computes in, compare its answers.

    An int8 file that was made again byte for byte has been judged on data: where there is none now,
    it is compared and described, and not judged again.

    Args:
        candidate: Rewritten in place with the metadata inside, so that what is compared is what
            is published.
        source: What it was made from.
        reference: What it has to answer.
        cost: Parameters and MACs of the prepared network.
        versions: Of the packages that made it.

    Raises:
        ExportError: If int8 was asked for and the file computes nothing in int8, or the other
            way round, or it divides by zero or overflows.
        BundleError: If its runtime cannot run it.
    """
    encodings = _encodings(candidate, source)
    metadata = _metadata(source, versions)
    FORMATS[candidate.format].embed(candidate.path, metadata)
    facts = audit_file(candidate.path)
    _check_precision(candidate, facts)
    checks, disagreements = check_int8(candidate, source, reference, facts, encodings)
    answers = _answers(candidate, source, reference, encodings)
    no_numbers = _no_numbers(answers)
    if no_numbers:
        return Verdict(candidate=candidate, model=None, problems=(*disagreements, *no_numbers))
    parity = compare(
        reference,
        answers.__getitem__,
        batch_sizes=tuple(answers),
        tolerance=None if candidate.int8 else source.recipe.tolerance,
    )
    model = ExportedModel(
        file=candidate.path.name,
        format=candidate.format,
        precision=facts.precision,
        task=source.record.task,
        sha256=sha256_of(candidate.path),
        size_bytes=candidate.path.stat().st_size,
        num_params=cost.num_params,
        macs=cost.macs,
        inputs=_inputs(facts.inputs, encodings),
        outputs=facts.outputs,
        input_encoding=metadata.input_encoding,
        int8_macs_share=facts.audit.int8_macs_share,
        int8_weight_bytes_share=facts.int8_weight_bytes_share,
        audit=facts.audit,
        int8_checks=checks,
        parity=parity,
        preprocess=source.record.preprocess,
        labels=source.record.labels,
        source_sha256=source.record.weights_sha256,
        metrics=reference.metrics(next(iter(answers.values()))),
        versions=versions,
        provenance=source.record.provenance,
        adjustments=() if candidate.int8_recipe is None else candidate.int8_recipe.tried,
        layer_errors=() if candidate.int8_recipe is None else candidate.int8_recipe.layers,
        unmeasured_layers=(
            0 if candidate.int8_recipe is None else candidate.int8_recipe.unmeasured_layers
        ),
        recovery=None if candidate.recovered is None else candidate.recovered.record,
        measured_on=None if candidate.int8_recipe is None else candidate.int8_recipe.measured_on,
        notes=(*candidate.notes, *_beyond(candidate, facts, cost)),
    )
    if candidate.made_again and reference.split is None:  # judged before, and on real samples
        return Verdict(candidate=candidate, model=model, problems=())
    found = problems(parity, facts.precision, reference.logits, source.recipe, task=reference.task)
    found += too_large(candidate, model.size_bytes, model.int8_weight_bytes_share)
    return Verdict(candidate=candidate, model=model, problems=(*disagreements, *found))


def _encodings(candidate: Candidate, source: Source) -> list[InputEncoding]:
    channel_last = FORMATS[candidate.format].channel_last(source.recipe)
    return [
        input_encoding(spec, source.recipe.input_encoding, channel_last=channel_last)
        for spec in source.record.preprocess.inputs
    ]


def _metadata(source: Source, versions: dict[str, str]) -> EmbeddedMetadata:
    return EmbeddedMetadata(
        task=source.record.task,
        labels=source.record.labels,
        preprocess=source.record.preprocess,
        input_encoding=source.recipe.input_encoding,
        source_sha256=source.record.weights_sha256,
        versions=versions,
        provenance=source.record.provenance,
    )


def _check_precision(candidate: Candidate, facts: FileFacts) -> None:
    recipe = candidate.int8_recipe
    asked = "fp32" if not candidate.int8 else "int8" if recipe is None else _ASKED[recipe.mode]
    if not facts.precision.startswith(asked):
        raise ExportError(
            f"{candidate.path.name}: asked for {asked}, the converter produced {facts.precision} "
            f"({facts.audit.int8_macs_share:.0%} of the MACs in int8)"
        )
    if recipe is not None and recipe.mode == "full":
        check_full(facts.audit.float_operators, candidate.path.name)


def check_full(float_operators: Mapping[str, int], file: str) -> None:
    """Refuse a file of ``--int8 full`` that computes anything in float.

    Raises:
        ExportError: With the list of operators.
    """
    if float_operators:
        names = ", ".join(f"{name} x{count}" for name, count in float_operators.items())
        raise ExportError(
            f"{file}: --int8 full, but these operators cannot compute in int8: {names}; "
            "take --int8 fast, or a student without them"
        )


def too_large(candidate: Candidate, size_bytes: int, int8_share: float) -> list[str]:
    """Why an int8 file is refused for its size; empty where it is not, and for fp32."""
    if candidate.fp32_bytes is None:
        return []
    problem = size_problem(size_bytes, candidate.fp32_bytes, int8_share)
    return [] if problem is None else [problem]


def _beyond(candidate: Candidate, facts: FileFacts, cost: Cost) -> tuple[str, ...]:
    """What an fp32 file computes besides the network it was made from, where all was counted."""
    unknown = cost.uncounted_operators or facts.audit.uncounted_operators
    if candidate.int8 or unknown or facts.macs <= cost.macs:
        return ()
    return (f"the file computes {facts.macs:,} MACs, its network {cost.macs:,}",)


def _answers(
    candidate: Candidate,
    source: Source,
    reference: Reference,
    encodings: Sequence[InputEncoding],
) -> dict[int, Logits]:
    """Batch size to logits."""
    with quiet_stderr():  # LiteRT announces its delegate from C++
        session = open_session(candidate.path, num_threads=1, encodings=encodings)
        return {
            batch: run_session(session, reference.samples, batch=batch)
            for batch in batch_sizes(candidate.format, source)
        }


def _no_numbers(answers: Mapping[int, Logits]) -> list[str]:
    """Of every batch size, on how many samples there is NaN or infinity in an answer."""
    bad = {batch: (~np.isfinite(logits)).any(axis=1).sum() for batch, logits in answers.items()}
    return [
        f"answers NaN or infinity on {count} of {len(answers[batch])} samples at batch {batch}"
        for batch, count in bad.items()
        if count
    ]


def _inputs(
    specs: Sequence[TensorSpec], encodings: Sequence[InputEncoding]
) -> tuple[TensorSpec, ...]:
    """The file's inputs with the layout that is known here, and only guessed from a shape."""
    layouts = {encoding.name: encoding.layout for encoding in encodings}
    return tuple(spec.model_copy(update={"layout": layouts[spec.name]}) for spec in specs)
