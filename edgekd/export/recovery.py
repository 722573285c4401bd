"""Int8 files that lose too much, made again from a network that was trained to bear 8 bits.

The files are made as ever first. Only where one of them would be refused is the student trained, as
these files compute, or, where none was found, as the strictest int8 form would. Then all int8 files
are made again from the one network that came out, each tensor with the range that was learned for
it where it can be told. The fp32 files stay those of the student.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from torch import nn

from edgekd.console import Console
from edgekd.errors import UsageError
from edgekd.export.formats import Source
from edgekd.export.make import make_files
from edgekd.export.recovered import Recovered
from edgekd.export.recovery_training import Recover, train, trained_network
from edgekd.export.samples import ExportSamples, source_logits
from edgekd.export.shortfall import better, outcome, shortfall
from edgekd.export.verify import Verdict


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


def make_recovered_again(
    source: Source, samples: ExportSamples, recovered: Recovered, console: Console
) -> list[Verdict]:
    """All files of an export whose int8 recipes come from a recovery; nothing is trained.

    Args:
        source: What the fp32 files are made from.
        samples: To judge by.
        recovered: What the recipes say of the network that the int8 files were made from.
        console: Hears about progress.

    Raises:
        ConfigError: If the weights that the recovery trained are missing.
    """
    network = trained_network(source, recovered)  # before time is spent: the file may be missing
    in_fp32 = source.recipe.model_copy(update={"int8": None, "int8_recipe": ()})
    first = make_files(replace(source, recipe=in_fp32), samples, console)
    again = _remade(source, recovered, network, samples, console)
    return _by_format([*first, *again])


def recover_int8(
    first: Sequence[Verdict],
    source: Source,
    samples: ExportSamples,
    student: nn.Module,
    recover: Recover | None,
    console: Console,
) -> list[Verdict]:
    """Train the student where one of its int8 files would be refused, and make those files again.

    Args:
        first: All files, as they are without.
        source: What they were made from.
        samples: To calibrate with and to judge by.
        student: As trained.
        recover: Trains.
        console: Hears what is done and why.

    Returns:
        All files; of each int8 file the better one.

    Raises:
        ModelError: If the student cannot be trained so.
    """
    if recover is None:
        raise ValueError("the recipe asks for a recovery and nobody was given to train it")
    reason = shortfall(first, source.recipe)
    if reason is None:
        console.info("int8 keeps its budget without a recovery")
        return list(first)
    epochs = source.recipe.recovery.epochs
    console.info(f"{reason}: recovering for {epochs} epoch{'s' * (epochs != 1)}")
    files = [verdict.candidate for verdict in first]
    recovered = train(source, samples, student, recover, reason, console, files)
    again = _remade(source, recovered, trained_network(source, recovered), samples, console)
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
    console: Console,
) -> list[Verdict]:
    """The int8 files of a recovered network; its fp32 files are only what they are made from."""
    work = source.work / "recovered"
    work.mkdir()
    reference = samples.reference
    exact = source_logits(network, reference.samples, source.record.preprocess.inputs)
    verdicts = make_files(
        replace(source, network=network, recovered=recovered, work=work, learned=recovered.learned),
        replace(samples, reference=replace(reference, unquantized=exact)),
        console,
    )
    return [verdict for verdict in verdicts if verdict.candidate.int8]


def _by_format(verdicts: Sequence[Verdict]) -> list[Verdict]:
    """In the order of the formats, fp32 before int8."""
    order = list(dict.fromkeys(verdict.candidate.format for verdict in verdicts))
    return sorted(verdicts, key=lambda v: (order.index(v.candidate.format), v.candidate.int8))
