"""Int8 files that lose too much, made again from a network that was trained to bear 8 bits.

The files are made as ever first. Only where one of them would be refused is the student trained, as
these files compute, or, where none was found, as the strictest int8 form would. Then all int8 files
are made again from the one network that came out, each tensor with the range that was learned for
it where it can be told. The fp32 files stay those of the student.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from edgekd.console import Console
from edgekd.errors import UsageError
from edgekd.export.formats import Source
from edgekd.export.recovered import Recovered, recorded_recovery
from edgekd.export.recovery_training import Recover, train, trained_network
from edgekd.export.samples import ExportSamples, source_logits
from edgekd.export.shortfall import better, outcome, shortfall
from edgekd.export.verify import Verdict

Make = Callable[[Source, ExportSamples, Console], list[Verdict]]


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
        network = trained_network(source, recorded)  # before time is spent: the file may be missing
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
    files = [verdict.candidate for verdict in first]
    recovered = train(source, samples, student, recover, reason, console, files)
    again = _remade(source, recovered, trained_network(source, recovered), samples, make, console)
    after = {verdict.file: verdict for verdict in again}
    chosen = [better(verdict, after.get(verdict.file)) for verdict in first]
    for verdict in chosen:
        tried = after.get(verdict.file)
        if tried is not None:
            stays = "" if verdict is tried else "; the file stays as it was before"
            console.info(f"{tried.file}: {outcome(tried)} after the recovery{stays}")
    return chosen


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
    verdicts = make(
        replace(source, network=network, recovered=recovered, work=work, learned=recovered.learned),
        replace(samples, reference=replace(reference, unquantized=exact)),
        console,
    )
    return [verdict for verdict in verdicts if verdict.candidate.int8]


def _by_format(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """In the order of the formats, fp32 before int8."""
    order = list(dict.fromkeys(verdict.candidate.format for verdict in verdicts))
    return sorted(verdicts, key=lambda v: (order.index(v.candidate.format), v.candidate.int8))
