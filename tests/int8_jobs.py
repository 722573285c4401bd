"""Jobs of an int8 file of the small network, timed by a made-up device."""

from small_onnx import write_small_network

from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.devices.local import describe
from edgekd.export.int8 import write_int8
from edgekd.export.int8_job import Int8Job
from edgekd.export.quantization.clock import Clock
from edgekd.export.quantization.onnx_quantizer import OnnxQuantizer
from edgekd.export.quantization.target import Target


def flat_race(files, *, num_threads, seconds):
    """The more of a file is int8, the faster: its number of quantizers decides."""
    times = []
    for path in files:
        count = path.read_bytes().count(b"\x0eQuantizeLinear") if path.name != "fp32.onnx" else 0
        times.append((1000 - 20 * count,) * 7)
    return tuple(times)


def no_race(files, *, num_threads, seconds):
    raise AssertionError("nothing is measured twice")


def target(processor="x86-vnni", version="1.0", **info):
    """A device of which only this much is known."""
    fields = describe().model_copy(update={"name": "rpi", "board": "A board", **info})
    return Target(info=fields, processor=processor, runtime_version=lambda model_format: version)


def job(tmp_path, feeds=None, race=flat_race, device=None, **recipe):
    fp32 = tmp_path / "fp32.onnx"
    if not fp32.exists():
        write_small_network(fp32)
    work = tmp_path / f"work{len(list(tmp_path.iterdir()))}"
    work.mkdir()
    wanted = ExportRecipe(**recipe)
    return Int8Job(
        recipe=wanted,
        clock=Clock(seconds=wanted.search_seconds),
        fp32=fp32,
        feeds=feeds,
        batch=3,
        accept=lambda path: True,
        work=work,
        race=race,
        target=device or target(),
    )


def write(job, tmp_path, name="int8.onnx"):
    with SilentConsole().track("", total=1) as progress:
        quantizer = OnnxQuantizer(job.fp32, job.target.processor)
        recipe = write_int8(quantizer, job, tmp_path / name, progress)
    return recipe, tmp_path / name
