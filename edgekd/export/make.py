"""All files of an export: converted, quantized, and each compared with what it was made from."""

import platform
from dataclasses import replace
from importlib import metadata
from typing import Final

import edgekd
from edgekd.console import Console
from edgekd.export.formats import Source
from edgekd.export.prepare import input_shape
from edgekd.export.quantization.clock import SearchTime
from edgekd.export.samples import ExportSamples
from edgekd.export.verify import Verdict, verify
from edgekd.export.write import write_files
from edgekd.students.count import count_cost

_PACKAGES: Final = (
    "torch",
    "onnx",
    "onnxruntime",
    "onnxscript",
    "onnxsim",
    "litert-torch",
    "litert-converter",
    "ai-edge-litert",
    "ai-edge-quantizer",
    "litert-quantizer",
    "numpy",
)


def make_files(source: Source, samples: ExportSamples, console: Console) -> list[Verdict]:
    """Convert, quantize and verify every format the recipe names.

    The searches share the recipe's time; those of a recovery are others, with as much again.

    Args:
        source: What they are made from.
        samples: To calibrate with and to judge by.
        console: Hears about progress.

    Returns:
        One verdict per file, in the order of the formats, fp32 before int8.

    Raises:
        ExportError: If a converter fails, or produces something else than was asked for.
        BundleError: If the runtime cannot run a file.
        ConfigError: If a recipe to be replayed makes another file.
    """
    formats = source.recipe.formats
    total = SearchTime(source.recipe.search_seconds, searches=len(formats))
    source = replace(source, search_time=total)
    shapes = [input_shape(spec) for spec in source.record.preprocess.inputs]
    cost = count_cost(source.network, shapes)
    versions = _versions()
    verdicts = []
    with console.track("exporting", total=2 * len(formats)) as progress:
        for name in formats:
            progress.describe(f"writing {name}")
            candidates = write_files(name, source, samples, console)
            progress.advance()
            progress.describe(f"comparing {name} with the student")
            for candidate in candidates:
                noted = replace(candidate, notes=(*candidate.notes, *samples.notes))
                verdicts.append(verify(noted, source, samples.reference, cost, versions))
            progress.advance()
    return verdicts


def _versions() -> dict[str, str]:
    """Of the packages that make an exported file."""
    found = {"edgekd": edgekd.__version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:  # one of two names, or a format not asked for
            continue
    return found
