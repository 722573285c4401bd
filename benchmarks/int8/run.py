"""fp32, each tool chain's own int8 recipe, and edgekd's, on timm architectures, in one run.

    python -m benchmarks.int8.run resnet18 mobilenetv3_small_100 vit_tiny_patch16_224

Each line of ``results.jsonl`` is one file of one architecture on one runtime: its time against the
fp32 file's of the same race, its SQNR and top-1 agreement against fp32 on held-out images, and its
size. What is there already for the same versions is not made again; ``--table`` only prints.
Weights are random but not degenerate, see ``architectures.py``.
"""

import argparse
import json
import math
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
from benchmarks.int8.stock import quantize_onnx, quantize_tflite
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.devices.local import describe
from edgekd.devices.race import race, ratio
from edgekd.errors import EdgekdError
from edgekd.export.quantization.candidates import answers, signal_to_noise
from edgekd.export.run import export
from edgekd.records import ExportedModel

HERE: Final = Path(__file__).parent
RESULTS: Final = HERE / "results.jsonl"
FORMATS: Final = ("onnx", "tflite")
STOCK: Final = {"onnx": quantize_onnx, "tflite": quantize_tflite}
CALIBRATION, HELD_OUT = 128, 64


def main() -> None:
    """Measure what is missing, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("architectures", nargs="*")
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--note", default="", help="kept with every line, e.g. 'machine busy'")
    parser.add_argument("--table", action="store_true", help="only print what was measured")
    options = parser.parse_args()
    if not options.table:
        for name in options.architectures:
            measure(name, options)
    print_table(read_results(), set(options.architectures))


def measure(name: str, options: argparse.Namespace) -> None:
    """All files of one architecture, unless every one is in the results already."""
    done = {(r["format"], r["kind"]) for r in read_results() if same_run(r, name, options)}
    if {(f, kind) for f in FORMATS for kind in ("stock", "edgekd")} <= done:
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
            max_drop=1.0,
            num_threads=options.threads,
        )
        for model_format in FORMATS:
            if not {(model_format, "stock"), (model_format, "edgekd")} <= done:
                one = recipe.model_copy(update={"formats": (model_format,)})
                for line in measure_format(name, one, work, options):
                    append(line)


def measure_format(
    name: str, recipe: ExportRecipe, work: Path, options: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One line per int8 file."""
    model_format = recipe.formats[0]
    base = {
        "architecture": name, "format": model_format, "size": options.size,
        "threads": options.threads, "note": options.note,
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
    }  # fmt: skip
    begin = time.monotonic()
    try:
        models = export(work / "bundle", work / "out", recipe, SilentConsole())
    except EdgekdError as error:
        yield {**base, "kind": "edgekd", "error": str(error)}
        return
    seconds = time.monotonic() - begin
    out = work / "out"
    fp32, ours = (out / model.file for model in models)
    stock, problem = out / f"stock.{model_format}", ""
    try:
        STOCK[model_format](fp32, stock, feeds(CALIBRATION, options.size, model_format, seed=1))
    except Exception as error:  # a peer fails in ways of its own; the reason is the result
        problem = f"{type(error).__name__}: {error}"[:300]
    yield from compare(base, fp32, stock, ours, models[1], problem, seconds, options)


def compare(
    base: dict[str, Any],
    fp32: Path,
    stock: Path,
    ours: Path,
    model: ExportedModel,
    problem: str,
    seconds: float,
    options: argparse.Namespace,
) -> Iterator[dict[str, Any]]:
    """Race the three files; judge the two int8 ones on images nobody has seen."""
    held_out = feeds(HELD_OUT, options.size, base["format"], seed=2)
    expected = answers(fp32, held_out, batch=1)
    files = [fp32, ours] if problem else [fp32, ours, stock]
    times = race(files, num_threads=options.threads, seconds=3.0)
    context = {"versions": model.versions, "device": describe().model_dump(mode="json")}
    for kind, path, own in zip(("edgekd", "stock"), files[1:], times[1:], strict=False):
        line = {
            **base,
            "kind": kind,
            "size_ratio": path.stat().st_size / fp32.stat().st_size,
            **context,
        }
        if times[0] is None or own is None:
            yield {**line, "error": "the runtime cannot run it"}
            continue
        speedup, error = ratio(times[0], own)
        found = answers(path, held_out, batch=1)
        agreement = float((found.argmax(1) == expected.argmax(1)).mean())
        yield {
            **line,
            "speedup": speedup,
            "speedup_error": error,
            "fp32_ms": statistics.median(times[0]) / 1e6,
            "int8_ms": statistics.median(own) / 1e6,
            "sqnr_db": signal_to_noise(expected, found),
            "top1_agreement": agreement,
            "latencies_ns": {"fp32": times[0], "int8": own},
            **({"export_seconds": seconds, **ours_only(model)} if kind == "edgekd" else {}),
        }
    if problem:
        yield {**base, "kind": "stock", "error": problem, **context}


def ours_only(model: ExportedModel) -> dict[str, Any]:
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


def append(line: dict[str, Any]) -> None:
    """One more line of raw results."""
    with RESULTS.open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")


def read_results() -> list[dict[str, Any]]:
    """All lines, oldest first."""
    if not RESULTS.exists():
        return []
    return [json.loads(line) for line in RESULTS.read_text(encoding="utf-8").splitlines()]


def same_run(line: dict[str, Any], name: str, options: argparse.Namespace) -> bool:
    """Whether a line answers what is asked now."""
    asked = (name, options.size, options.threads, options.note)
    return (line["architecture"], line["size"], line["threads"], line["note"]) == asked


def print_table(lines: list[dict[str, Any]], names: set[str]) -> None:
    """The newest figures of each file, and geometric means."""
    newest = {(r["architecture"], r["format"], r["kind"]): r for r in lines}
    kept = {k: r for k, r in newest.items() if not names or k[0] in names}
    print("| architecture | runtime | recipe | fp32 ms | speed-up | SQNR dB | top-1 | size |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, model_format, kind), line in sorted(kept.items()):
        if "error" in line:
            print(f"| {name} | {model_format} | {kind} | | {line['error'][:60]} | | | |")
            continue
        print(
            f"| {name} | {model_format} | {kind} | {line['fp32_ms']:.2f} | "
            f"{line['speedup']:.2f} | {line['sqnr_db']:.1f} | {line['top1_agreement']:.0%} | "
            f"{line['size_ratio']:.2f} |"
        )
    for model_format in FORMATS:
        for kind in ("stock", "edgekd"):
            found = [r for k, r in kept.items() if k[1:] == (model_format, kind)]
            speedups = [r["speedup"] for r in found if "speedup" in r]
            if speedups:
                mean = math.exp(statistics.fmean(map(math.log, speedups)))
                slower = sum(s < 1 for s in speedups)
                print(
                    f"{model_format} {kind}: geometric mean {mean:.2f} over {len(speedups)}, "
                    f"{slower} slower than fp32, {len(found) - len(speedups)} failed"
                )


if __name__ == "__main__":
    main()
