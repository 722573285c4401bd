"""The raw results as tables."""

import math
import statistics
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from benchmarks.int8.peers import PEERS

FORMATS: Final = ("onnx", "tflite")
EXPLAINED: Final = 1.3  # from this ratio on, the table says what is different

Lines = Mapping[tuple[str, str, str], dict[str, Any]]
"""Architecture, format and kind of recipe to the newest line."""


def print_tables(lines: Sequence[dict[str, Any]], names: set[str]) -> None:
    """For each processor: the newest figures of each file, geometric means, fp32 against fp32.

    Args:
        lines: Of one setting.
        names: Of the architectures; all if empty.
    """
    asked = [line for line in lines if not names or line["architecture"] in names]
    for cpu, group in groupby(sorted(asked, key=_cpu), key=_cpu):
        newest = {(r["architecture"], r["format"], r["kind"]): r for r in group}
        print(f"{cpu}; {', '.join(sorted({_runtime(line) for line in newest.values()}))}\n")
        print_files(newest)
        print_means(newest)
        print_fp32(newest)


def measured_on(line: Mapping[str, Any]) -> tuple[str, str | None]:
    """The version of the runtime and the processor that a line is of."""
    return line["runtime_version"], line["device"]["cpu"]


def _cpu(line: Mapping[str, Any]) -> str:
    return measured_on(line)[1] or "unknown processor"


def _runtime(line: Mapping[str, Any]) -> str:
    return f"{line['format']} {line['runtime_version']}"


def print_files(kept: Lines) -> None:
    """One row per int8 file."""
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


def print_means(kept: Lines) -> None:
    """The geometric mean of each kind of recipe on each runtime."""
    for model_format in FORMATS:
        for kind in ("stock", "edgekd", *PEERS[model_format]):
            found = [r for k, r in kept.items() if k[1:] == (model_format, kind)]
            speedups = [r["speedup"] for r in found if "speedup" in r]
            if found and not speedups:
                print(f"{model_format} {kind}: all {len(found)} failed")
            if speedups:
                mean = math.exp(statistics.fmean(map(math.log, speedups)))
                slower = sum(s < 1 for s in speedups)
                print(
                    f"{model_format} {kind}: geometric mean {mean:.2f} over {len(speedups)}, "
                    f"{slower} slower than fp32, {len(found) - len(speedups)} failed"
                )


def print_fp32(kept: Lines) -> None:
    """TFLite fp32 against ONNX fp32 of the same network, and what differs where that is far."""
    pairs = {
        name: tuple(kept.get((name, model_format, "edgekd"), {}) for model_format in FORMATS)
        for name in sorted({name for name, _, _ in kept})
    }
    whole = {k: pair for k, pair in pairs.items() if all("fp32_ms" in line for line in pair)}
    if not whole:
        return
    print("\n| architecture | ONNX fp32 ms | TFLite fp32 ms | TFLite / ONNX | what differs |")
    print("|---|---|---|---|---|")
    for name, (onnx, tflite) in whole.items():
        ratio = tflite["fp32_ms"] / onnx["fp32_ms"]
        why = difference(onnx, tflite) if ratio > EXPLAINED else ""
        print(f"| {name} | {onnx['fp32_ms']:.2f} | {tflite['fp32_ms']:.2f} | {ratio:.2f} | {why} |")


def difference(onnx: Mapping[str, Any], tflite: Mapping[str, Any]) -> str:
    """What the TFLite file has that costs time, in words; from its graph, not from a profile."""
    one, other = onnx["fp32"], tflite["fp32"]
    totals = [sum(graph["operators"].values()) for graph in (other, one)]
    outside = ", ".join(f"{name} {count}" for name, count in other["outside_xnnpack"].items())
    left = f" and not {outside}" if outside else " and leaves nothing out"
    return (
        f"operators {totals[0]} against {totals[1]}, "
        f"transposes {other['transposes']} against {one['transposes']}, "
        f"axes at most {other['largest_rank']} against {one['largest_rank']}; "
        f"XNNPACK runs {other['pieces']} pieces{left}"
    )
