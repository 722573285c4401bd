"""What is looked for in an int8 file besides its answers, and what of it a user must hear."""

from collections.abc import Sequence
from typing import Final

from edgekd.export.audit import FileFacts
from edgekd.export.audit.health import check_health
from edgekd.export.formats import Candidate, Source
from edgekd.export.parity import Reference
from edgekd.export.quiet import quiet_stderr
from edgekd.export.reference_kernels import LEAST_SHARE, compare_kernels, not_made
from edgekd.records import ExportedModel, Int8Checks, ReferenceCheck
from edgekd.runtimes.encoding import InputEncoding
from edgekd.runtimes.session import open_session

_LOUD: Final = 0.01  # of a tensor's calibration values outside its range: worth a warning


def check_int8(
    candidate: Candidate,
    source: Source,
    reference: Reference,
    facts: FileFacts,
    encodings: Sequence[InputEncoding],
) -> tuple[Int8Checks | None, list[str]]:
    """Look for saturation, dead channels, overflow and kernels that disagree.

    Returns:
        The checks, ``None`` for an fp32 file; and why the gate refuses the file: reference
        kernels that answer something else.

    Raises:
        ExportError: If the file divides by zero or can overflow while it runs.
    """
    if not candidate.int8:
        return None, []
    recipe = candidate.int8_recipe
    dead_channels = check_health(candidate.path)
    compared, problems = _reference(candidate, source, reference, facts, encodings)
    checks = Int8Checks(
        dead_channels=dead_channels,
        saturated=None if recipe is None else recipe.saturated,
        reference=compared,
    )
    return checks, problems


def findings(model: ExportedModel) -> list[str]:
    """What of a file's checks must not be missed."""
    checks = model.int8_checks
    if checks is None:
        return []
    found = []
    clipped = {name: share for name, share in (checks.saturated or {}).items() if share > _LOUD}
    if clipped:
        worst = max(clipped, key=lambda name: clipped[name])
        found.append(
            f"{len(clipped)} activations lose more than {_LOUD:.0%} of their values to the ends of "
            f"the int8 range, most of all {worst} ({clipped[worst]:.1%}); more --num-calibration "
            "may help"
        )
    if checks.dead_channels:
        dead = checks.dead_channels
        worst = max(dead, key=lambda name: dead[name])
        found.append(
            f"{sum(dead.values())} channels of {len(dead)} layers have only zero weights in int8, "
            f"most of all {worst} ({dead[worst]})"
        )
    return found


def not_checked(model: ExportedModel) -> str | None:
    """Why a file was not compared with reference kernels; ``None`` where it was, or need not be."""
    reference = None if model.int8_checks is None else model.int8_checks.reference
    if reference is None or reference.reason is None:
        return None
    what = "" if reference.share is None else "operator by operator "
    return f"not compared {what}with reference kernels: {reference.reason}"


def _reference(
    candidate: Candidate,
    source: Source,
    reference: Reference,
    facts: FileFacts,
    encodings: Sequence[InputEncoding],
) -> tuple[ReferenceCheck | None, list[str]]:
    if candidate.format != "tflite":
        return None, []
    if not source.recipe.reference_kernels:
        return not_made("tensorflow", "switched off by --no-reference-kernels"), []
    with quiet_stderr():
        session = open_session(candidate.path, num_threads=1, encodings=encodings)
    check, noise_db = compare_kernels(candidate.path, session, reference.samples, source.work)
    found = operator_problems(check)
    # reference kernels quantize the activations of dynamic products in a way of their own
    held_to_it = facts.precision == "int8-static"
    if held_to_it and noise_db is not None and noise_db < source.recipe.min_sqnr_db:
        found.append(
            f"its answers are only {noise_db:.1f} dB from those of {check.runtime}, required is "
            f"{source.recipe.min_sqnr_db:g} dB (LiteRT's fast kernels compute something else: take "
            "--int8 fast)"
        )
    return check, found


def operator_problems(check: ReferenceCheck) -> list[str]:
    """Why a file is refused for what its fast kernels compute; empty where it is not.

    What counts are all values that its int8 operators compute, taken together, each operator fed
    the same inputs in both runtimes, so that no rounding adds up: 99.9 % of them must be within one
    step of the scale of their own tensor. This holds for every precision; products whose
    activations are quantized while running answer in float and are not among them, and neither
    is what merely moves values. A file that was not compared is not refused.
    """
    alone = check.operators
    if alone is None or alone.share >= LEAST_SHARE:
        return []
    return [
        f"of what its {alone.num_operators} int8 operators compute from equal inputs only "
        f"{alone.share:.2%} is within one step of {check.runtime}, required is {LEAST_SHARE:.1%}; "
        f"least of all of {alone.worst} ({alone.lowest_share:.1%}) (--no-reference-kernels leaves "
        "the comparison out; then look at the metric on the device)"
    ]
