"""Int8 files that lose too much, made again from a network that was trained to bear 8 bits.

The files are made as ever first. Only where one of them would be refused is the student trained, as
the strictest int8 form of it would compute; then all int8 files are made again from the one network
that came out, each tensor with the range that was learned for it where it can be told. The fp32
files stay those of the student.

Training lies beside export, not below it: who calls an export hands the training in.
"""

import copy
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final, Protocol

import torch
from torch import Tensor, nn

from edgekd.config import ExportRecipe
from edgekd.console import Console
from edgekd.errors import UsageError
from edgekd.export.folded_weights import folded_bytes, load_folded
from edgekd.export.formats import Source
from edgekd.export.quantization.learned import LearnedRange
from edgekd.export.quantization.onnx_types import TYPES
from edgekd.export.quantization.ranges import RangeCollector
from edgekd.export.quantization.target import Target
from edgekd.export.recovered import RECOVERED_FILE, Recovered, recorded_recovery
from edgekd.export.samples import ExportSamples, source_logits
from edgekd.export.verify import Verdict
from edgekd.records import Recovery, StudentBundle
from edgekd.students.quantized import FakeQuantized

_BATCH: Final = 32
_CALIBRATION_VALUES: Final = 20_000  # kept per tensor, over all samples

Make = Callable[[Source, ExportSamples, Console], list[Verdict]]


class Recover(Protocol):
    """Trains a network that rounds to 8 bits."""

    def __call__(
        self,
        network: FakeQuantized,
        *,
        student: nn.Module,
        record: StudentBundle,
        recipe: ExportRecipe,
        work: Path,
        console: Console,
    ) -> float:
        """Train in place and return the mean training loss of the last epoch.

        Args:
            network: With calibrated ranges.
            student: In fp32, the teacher where the recipe names no other.
            record: Of the student.
            recipe: Data, seed and ``recovery``.
            work: Scratch folder.
            console: Hears about progress.
        """


def require_trainable(source: Path) -> None:
    """Refuse what has no network to train.

    Raises:
        UsageError: If ``source`` is a file of another tool.
    """
    if Path(str(source).partition("#")[0]).is_file():  # options may follow the name
        raise UsageError(
            f"{source}: --recover trains the network, and this file holds none that can be "
            "trained; give a bundle folder or timm:NAME@weights.safetensors"
        )


def make_with_recovery(
    source: Source,
    samples: ExportSamples,
    *,
    make: Make,
    recover: Recover | None,
    student: nn.Module,
    console: Console,
) -> list[Verdict]:
    """All files of an export; the int8 ones recovered where the recipe asks and they need it.

    Args:
        source: What they are made from.
        samples: To calibrate with and to judge by.
        make: Makes and judges all files of a source.
        recover: Trains; only asked where the recipe has epochs for it.
        student: As trained.
        console: Hears what is done and why.

    Raises:
        ConfigError: If a recipe to be replayed lacks the weights that its recovery trained.
        ModelError: If the student cannot be trained so.
    """
    recorded = recorded_recovery(source.recipe)
    if recorded is not None:
        in_fp32 = source.recipe.model_copy(update={"int8": None, "int8_recipe": ()})
        network = _trained(source, recorded)  # before time is spent: the file may be missing
        first = make(replace(source, recipe=in_fp32), samples, console)
        again = _remade(source, recorded, network, samples, make, console)
        return _by_format([*first, *again])
    first = make(source, samples, console)
    if not source.recipe.recovery.epochs:
        return first
    if recover is None:
        raise ValueError("the recipe asks for a recovery and nobody was given to train it")
    reason = shortfall(first, source.recipe)
    if reason is None:
        console.info("int8 keeps its budget without a recovery")
        return first
    epochs = source.recipe.recovery.epochs
    console.info(f"{reason}: recovering for {epochs} epoch{'s' * (epochs != 1)}")
    recovered = _train(source, samples, student, recover, reason, console)
    again = _remade(source, recovered, _trained(source, recovered), samples, make, console)
    after = {verdict.model.file: verdict for verdict in again}
    chosen = [_better(verdict, after.get(verdict.model.file)) for verdict in first]
    for verdict in chosen:
        tried = after.get(verdict.model.file)
        if tried is not None:
            stays = "" if verdict is tried else "; the file stays as it was before"
            console.info(f"{tried.model.file}: {_said(tried)} after the recovery{stays}")
    return chosen


def shortfall(verdicts: Sequence[Verdict], recipe: ExportRecipe) -> str | None:
    """Why a recovery is due, of the file that loses most; ``None`` where none is.

    A search that took nothing counts where the file with everything in int8 would be refused.
    """
    due = [v for v in verdicts if v.candidate.int8 and (v.problems or v.candidate.strict_problems)]
    if not due:
        return None
    worst = max(due, key=lambda v: v.model.parity.metric_drop or 0.0)
    if not worst.problems:
        problems = ", ".join(worst.candidate.strict_problems)
        return f"{worst.model.file}: with everything in int8, {problems}"
    drop = worst.model.parity.metric_drop
    if drop is not None and drop > recipe.max_drop:
        said = f"drop {100 * drop:.1f} points over the budget of {100 * recipe.max_drop:g}"
        return f"{worst.model.file}: {said}"
    return f"{worst.model.file}: {', '.join(worst.problems)}"


def _said(verdict: Verdict) -> str:
    drop = verdict.model.parity.metric_drop
    figures = [] if drop is None else [f"drop {100 * drop:.1f} points"]
    slow = ["nothing in int8 is faster"] if _fell_back(verdict) else []
    return ", ".join([*figures, *slow, *verdict.problems]) or "no metric to compare"


def _train(
    source: Source,
    samples: ExportSamples,
    student: nn.Module,
    recover: Recover,
    reason: str,
    console: Console,
) -> Recovered:
    inputs, recipe = source.record.preprocess.inputs, source.recipe
    if samples.calibration is None:
        raise ValueError("a recovery needs calibration samples")
    feeds = samples.calibration.feeds("float32", channel_last=False)
    batches = _batches([torch.from_numpy(feeds[spec.name]) for spec in inputs])
    network = FakeQuantized(
        copy.deepcopy(source.network), [x[:2] for x in batches[0]], weight_bits=_weight_bits(source)
    )
    network.calibrate(_observed(network, batches).best())
    work = source.work / "recovery"
    work.mkdir()
    loss = recover(
        network,
        student=student,
        record=source.record,
        recipe=recipe,
        work=work,
        console=console,
    )
    seen, ranges = _observed(network, batches).extremes(), network.ranges()
    content = folded_bytes(network.network)
    weights = work / RECOVERED_FILE
    weights.write_bytes(content)
    record = Recovery(
        epochs=recipe.recovery.epochs,
        final_loss=loss,
        reason=reason,
        teacher=recipe.recovery.teacher or "student",
        weights_sha256=hashlib.sha256(content).hexdigest(),
    )
    learned = tuple(LearnedRange(seen=seen[name], learned=ranges[name]) for name in network.points)
    return Recovered(weights=weights, record=record, learned=learned)


def _trained(source: Source, recovered: Recovered) -> nn.Module:
    """The network of a source with the weights of its recovery."""
    network = copy.deepcopy(source.network)
    return load_folded(network, recovered.weights, sha256=recovered.record.weights_sha256)


def _remade(
    source: Source,
    recovered: Recovered,
    network: nn.Module,
    samples: ExportSamples,
    make: Make,
    console: Console,
) -> list[Verdict]:
    """The int8 files of a recovered network; its fp32 files are only what they are made from."""
    work = source.work / "recovered"
    work.mkdir()
    reference = samples.reference
    exact = source_logits(network, reference.samples, source.record.preprocess.inputs)
    # a remembered search knows nothing of learned ranges
    recipe = source.recipe.model_copy(update={"cache": False})
    verdicts = make(
        replace(source, network=network, recipe=recipe, recovered=recovered, work=work),
        replace(samples, reference=replace(reference, unquantized=exact)),
        console,
    )
    return [verdict for verdict in verdicts if verdict.candidate.int8]


def _better(before: Verdict, after: Verdict | None) -> Verdict:
    """The recovered file, unless the first one passed and this one is refused or not int8."""
    if after is None:
        return before
    is_worse = bool(after.problems) or _fell_back(after)
    return before if is_worse and not before.problems else after


def _fell_back(verdict: Verdict) -> bool:
    """Whether its search found nothing in int8 to take."""
    recipe = verdict.candidate.int8_recipe
    figures = None if recipe is None else recipe.figures
    return figures is not None and figures.fallback is not None


def _by_format(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """In the order of the formats, fp32 before int8."""
    order = list(dict.fromkeys(verdict.candidate.format for verdict in verdicts))
    return sorted(verdicts, key=lambda v: (order.index(v.candidate.format), v.candidate.int8))


def _weight_bits(source: Source) -> int:
    """Of the coarsest weights among the formats."""
    return (
        TYPES[Target.of(source.device).processor].weight_bits
        if "onnx" in source.recipe.formats
        else 8
    )


def _batches(inputs: Sequence[Tensor]) -> list[tuple[Tensor, ...]]:
    starts = range(0, len(inputs[0]), _BATCH)
    return [tuple(x[start : start + _BATCH] for x in inputs) for start in starts]


def _observed(network: FakeQuantized, batches: Sequence[tuple[Tensor, ...]]) -> RangeCollector:
    collector = RangeCollector(seed=0, per_batch=max(64, _CALIBRATION_VALUES // len(batches)))
    for batch in batches:
        network.observe(batch, collector.add)
    return collector
