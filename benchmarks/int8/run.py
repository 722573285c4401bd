"""fp32, each tool chain's own int8 recipe, peers' and edgekd's, on timm architectures, in one run.

    python -m benchmarks.int8.run resnet18 mobilenetv3_small_100 --peers peers

Each line of ``results.jsonl`` is one file of one architecture on one runtime: its time against the
fp32 file's of the same race, its SQNR and top-1 agreement against fp32 on held-out images, and its
size. What is there already for the same setting, runtime version and processor is not made again
(``--again`` does); ``--table`` only prints.
Weights are random but not degenerate, see ``architectures.py``.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from benchmarks.int8.architectures import MEAN, STD, make_images, write_architecture, write_data
from benchmarks.int8.fp32_graph import describe_fp32
from benchmarks.int8.peers import ALL_PEERS, PEERS, peer_version, run_peer
from benchmarks.int8.results import append, here, is_asked, read_results, recorded
from benchmarks.int8.stock import quantize_onnx, quantize_tflite
from benchmarks.int8.tables import FORMATS, print_tables
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.devices.local import describe
from edgekd.devices.race import race, ratio
from edgekd.errors import EdgekdError
from edgekd.export.quantization.candidates import answers
from edgekd.export.run import export
from edgekd.export.sqnr import sqnr_db
from edgekd.records import ExportedModel
from edgekd.runtimes.session import open_session

STOCK: Final = {"onnx": quantize_onnx, "tflite": quantize_tflite}
CALIBRATION, HELD_OUT = 128, 64


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", default="", help="kept with every line, e.g. 'machine busy'")
    parser.add_argument(
        "--peers",
        type=lambda text: Path(text).absolute(),
        help="folder of the environments of peers.py; none if left out",
    )
    parser.add_argument("--again", action="store_true", help="measure what is there, too")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    if not options.table:
        for name in options.architectures:
            measure(name, options)
    asked = [line for line in read_results() if is_asked(line, options)]
    print_tables(asked, set(options.architectures))


def measure(name: str, options: argparse.Namespace) -> None:
    """All files of one architecture, unless every one is in the results already."""
    wanted = {f: {(f, kind) for kind in kinds(f, options)} for f in FORMATS}
    done = set() if options.again else recorded(name, options)
    missing = [f for f in FORMATS if not wanted[f] <= done]
    if not missing:
        return
    with tempfile.TemporaryDirectory(prefix="int8-bench-") as folder:
        work = Path(folder)
        write_architecture(work / "bundle", name, options.size)
        recipe = ExportRecipe(
            data=str(write_data(work / "data.npz", options.size)),
            int8="fast",
            num_calibration=CALIBRATION,
            num_parity=HELD_OUT,
            min_agreement=0.0,  # near ties are common between random classes
            max_drop_points=100.0,
            num_threads=options.threads,
            cache=False,  # the time of the export is a result
        )
        for model_format in missing:
            one = recipe.model_copy(update={"formats": (model_format,)})
            for line in measure_format(name, one, work, options):
                append(line)


def kinds(model_format: str, options: argparse.Namespace) -> tuple[str, ...]:
    """Whose int8 files are measured."""
    peers = PEERS[model_format] if options.peers else ()
    return ("edgekd", "stock", *peers)


def measure_format(
    name: str, recipe: ExportRecipe, work: Path, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One line per int8 file."""
    model_format = recipe.formats[0]
    version, _ = here(model_format)
    base = {
        "architecture": name, "format": model_format, "size": options.size,
        "threads": options.threads, "note": options.note, "runtime_version": version,
        "device": describe().model_dump(mode="json"),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    begin = time.monotonic()
    files, problems, ours_only = {}, {}, {}
    try:
        models = export(work / "bundle", work / "out", recipe, SilentConsole())
    except EdgekdError as error:  # the others are measured all the same
        problems["edgekd"] = str(error)
        plain = recipe.model_copy(update={"int8": None})
        models = export(work / "bundle", work / "out", plain, SilentConsole())
    else:
        files["edgekd"] = work / "out" / models[1].file
        ours_only = {"export_seconds": time.monotonic() - begin, **about(models[1])}
    fp32 = work / "out" / models[0].file
    base |= {"versions": models[0].versions, "fp32": describe_fp32(models[0], fp32)}
    for kind in kinds(model_format, options)[1:]:
        target = work / "out" / f"{kind}.{model_format}"
        try:
            write_other(kind, fp32, target, work, options)
            files[kind] = target
        except Exception as error:  # a peer fails in ways of its own; the reason is the result
            problems[kind] = f"{type(error).__name__}: {error}"[:300]
    yield from compare(base, fp32, files, problems, ours_only, options)


def write_other(
    kind: str, fp32: Path, target: Path, work: Path, options: argparse.Namespace
) -> None:
    """The int8 file of the tool chain's own recipe, or of a peer."""
    model_format = target.suffix[1:]
    if kind == "stock":
        STOCK[model_format](fp32, target, feeds(CALIBRATION, options.size, model_format, seed=1))
        return
    onnx_file = work / "out" / "student.onnx"  # peers start from ONNX, whatever they write
    if not onnx_file.exists():
        export(work / "bundle", work / "out", ExportRecipe(formats=("onnx",)), SilentConsole())
    images = feeds(CALIBRATION, options.size, "onnx", seed=1)
    run_peer(kind, options.peers, onnx_file, images, target)


def compare(
    base: dict[str, Any],
    fp32: Path,
    files: dict[str, Path],
    problems: dict[str, str],
    ours_only: dict[str, Any],
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Race all files; judge the int8 ones on images nobody has seen."""
    held_out = feeds(HELD_OUT, options.size, base["format"], seed=2)["image"]
    expected = answers_of(fp32, held_out)
    times = race([fp32, *files.values()], num_threads=options.threads, seconds=3.0)
    for (kind, path), own in zip(files.items(), times[1:], strict=True):
        line = {
            **base,
            "kind": kind,
            "size_ratio": path.stat().st_size / fp32.stat().st_size,
            **({"peer_version": peer_version(kind, options.peers)} if kind in ALL_PEERS else {}),
        }
        if times[0] is None or own is None:
            yield {**line, "error": "the runtime cannot run it"}
            continue
        speedup, error = ratio(times[0], own)
        found = answers_of(path, held_out)
        agreement = float((found.argmax(1) == expected.argmax(1)).mean())
        yield {
            **line,
            "speedup": speedup,
            "speedup_error": error,
            "fp32_ms": statistics.median(times[0]) / 1e6,
            "int8_ms": statistics.median(own) / 1e6,
            "sqnr_db": sqnr_db(expected, found),
            "top1_agreement": agreement,
            "latencies_ns": {"fp32": times[0], "int8": own},
            **(ours_only if kind == "edgekd" else {}),
        }
    for kind, problem in problems.items():
        yield {**base, "kind": kind, "error": problem}


def answers_of(path: Path, images: np.ndarray) -> np.ndarray:
    """A file's answers; a peer may call its only input as it likes."""
    (info,) = open_session(path, num_threads=1).inputs
    return answers(path, {info.name: images}, batch=1)


def about(model: ExportedModel) -> dict[str, Any]:
    """What only edgekd's record says."""
    return {
        "precision": model.precision,
        "int8_macs_share": model.int8_macs_share,
        "float_operators": model.audit.float_operators,
        "int8_operators": model.audit.int8_operators,
    }


def feeds(count: int, size: int, model_format: str, *, seed: int) -> dict[str, np.ndarray]:
    """Normalised images in the layout of a format."""
    images = (make_images(count, size, seed=seed) / 255 - np.array(MEAN)) / np.array(STD)
    if model_format == "onnx":
        images = images.transpose(0, 3, 1, 2)
    return {"image": np.ascontiguousarray(images, dtype=np.float32)}


if __name__ == "__main__":
    main()
