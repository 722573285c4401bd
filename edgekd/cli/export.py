"""``edgekd export``: verified ONNX and TFLite files from a bundle."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from edgekd.cli.cells import percent, size
from edgekd.cli.data_flags import DATA_FLAGS
from edgekd.cli.extras import needs_extra
from edgekd.cli.options import Flag, example, takes_recipe, takes_terminal
from edgekd.cli.terminal import Sheet, Terminal
from edgekd.config import ExportRecipe

if TYPE_CHECKING:  # torch takes seconds, and help needs none
    from edgekd.export.recovery_training import Recover

_FLAGS: Final = (
    Flag("formats", ("--format",), "File format; repeatable."),
    Flag(
        "int8",
        ("--int8",),
        "Write int8 files too. fast (or no word): the fastest mixture that measuring finds; "
        "full: every operator, or an error; both need --data.",
        bare="fast",
    ),
    Flag("int8_recipe", ("--int8-recipe",), "Make the int8 file of this FILE.recipe.json again."),
    Flag("device", ("--device",), "Where --int8 fast measures: local, or a board (see devices)."),
    Flag("wheels", ("--wheels",), "Folder of wheels for the board, where there is no network."),
    Flag(
        "search_seconds",
        ("--search-seconds",),
        "Longest int8 search, of all formats together; 300 on a board.",
    ),
    Flag("num_threads", ("--threads", "--num-threads"), "With which the int8 search measures."),
    Flag(
        "reference_kernels",
        ("--reference-kernels",),
        "Compare int8 TFLite files with the slow reference kernels of TensorFlow, where installed.",
    ),
    Flag("cache", ("--cache",), "Ask earlier int8 searches on this machine."),
    Flag("adjustments", ("--adjustments",), "Try to equalize, smooth and correct before int8."),
    Flag(
        "input_size",
        ("--input-size",),
        "Size a timm:NAME@FILE was trained at, in pixels, or a .pt2 that leaves it open.",
    ),
    Flag("input_encoding", ("--input",), "uint8 puts the normalisation inside the file."),
    Flag("channel_last", ("--channel-last",), "Layout of the TFLite input."),
    Flag("simplify", ("--simplify",), "Simplify the ONNX graph, if its outputs stay the same."),
    Flag("num_calibration", ("--num-calibration",), "Training samples that set int8 ranges."),
    Flag("num_parity", ("--num-parity",), "Held-out samples on which int8 outputs are compared."),
    Flag("tolerance", ("--tolerance",), "Largest relative error of an fp32 output."),
    Flag("min_sqnr_db", ("--min-sqnr-db",), "Least signal-to-noise of int8 outputs, in dB."),
    Flag("min_agreement", ("--min-agreement",), "Least share of equal first answers in int8."),
    Flag("max_drop_points", ("--max-drop",), "Largest loss of the metric in int8, in points."),
    Flag(
        "recovery.epochs",
        ("--recover",),
        "Epochs of training with 8-bit rounding where an int8 file loses more; 0 never trains.",
    ),
    Flag(
        "recovery.teacher",
        ("--teacher",),
        "Who teaches a recovery; the student in fp32 if left out.",
    ),
    Flag("seed", ("--seed",), "Seed of the choice of samples."),
    *DATA_FLAGS,
)


@click.command(
    "export", epilog=example("edgekd export runs/student --int8 --data signs.zip -o runs/exported")
)
@click.argument("bundle", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder for the files; each has its record beside it.",
)
@click.option("--overwrite", is_flag=True, help="Replace files of another student in the folder.")
@takes_recipe(ExportRecipe, _FLAGS)
@takes_terminal
def command(
    *, recipe: ExportRecipe, terminal: Terminal, bundle: Path, output: Path, overwrite: bool
) -> None:
    """Write verified ONNX and TFLite files from BUNDLE, a folder of teach or distill.

    BUNDLE may also be a finished network of your own: timm:NAME@weights.safetensors, or a
    torch.export program, model.pt2 or model.pt2#mean=0.5#std=0.5; without its normalisation it
    gets ImageNet's.

    Every file is compared with the network it was made from; one that answers differently is
    refused (exit code 6). Data are split as in training unless a flag says how.
    """
    with needs_extra("export", purpose="write model files"):
        from edgekd.export.run import export, rows

    models = export(
        bundle, output, recipe, terminal, recover=_training(recipe), overwrite=overwrite
    )
    data = rows(models)
    terminal.show(data, _sheet(data))


def _training(recipe: ExportRecipe) -> "Recover | None":
    """What trains, where the recipe may need it: it takes packages that an export does not."""
    if not recipe.recovery.epochs:
        return None
    with needs_extra("train", purpose="recover what int8 loses"):
        from edgekd.distill.recover import recover
    return recover


def _sheet(rows: list[dict[str, Any]]) -> Sheet:
    return Sheet(
        "",
        ("file", "precision", "size", "int8 MACs", "max error", "SQNR dB", "top-1 agreed", "drop"),
        tuple(
            (
                row["file"],
                f"{row['precision']}, recovered" if row.get("recovery") else row["precision"],
                size(row["size_bytes"]),
                percent(row["int8_macs_share"]),
                f"{row['parity']['max_abs_err']:.2g}",
                _decibel(row["parity"]["sqnr_db"]),
                percent(row["parity"]["top1_agreement"]),
                _drop(row["parity"]),
            )
            for row in rows
        ),
    )


def _drop(parity: dict[str, Any]) -> str:
    """With what it was measured on: the drop on validation samples is not that on the test set."""
    if parity["metric_drop"] is None:
        return ""
    return f"{percent(parity['metric_drop'])}, {parity['num_samples']} {parity['split']}"


def _decibel(value: float | None) -> str:
    return "equal" if value is None else f"{value:.1f}"
