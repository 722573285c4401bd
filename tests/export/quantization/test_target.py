import onnxruntime
import pytest

from edgekd.devices.local import describe
from edgekd.export.quantization.onnx_types import this_processor
from edgekd.export.quantization.target import FILES_PER_RACE, Target, this_machine

MB = 1 << 20


class Board:
    """A device that says little of itself."""

    def __init__(self, flags=(), **info):
        fields = {"name": "rpi", "board": None, "cpu": None, **info}
        self.info, self.flags = describe().model_copy(update=fields), flags

    def describe(self):
        return self.info

    def cpu_flags(self):
        return self.flags

    def runtime_version(self, model_format):
        return {"onnx": "1.30", "tflite": "2.1"}[model_format]


def test_the_processor_is_what_the_board_says_it_is():
    assert Target.of(Board(arch="aarch64")).processor == "arm"
    assert Target.of(Board(["avx2", "avx512_vnni"], arch="x86_64")).processor == "x86-vnni"
    assert Target.of(Board(["avx2"], arch="x86_64")).processor == "x86"


def test_a_record_names_device_machine_and_runtime():
    board = Board(arch="aarch64", board="Raspberry Pi 5")
    found = Target.of(board).measuring("tflite", 4)
    assert (found.name, found.machine, found.runtime) == ("rpi", "Raspberry Pi 5", "litert 2.1")
    assert found.num_threads == 4
    assert Target.of(Board(arch="aarch64")).measuring("onnx", 1).machine == "aarch64"


@pytest.mark.parametrize(
    ("memory", "file_bytes", "files"),
    [
        (None, 20 * MB, FILES_PER_RACE),  # it does not say
        (8192 * MB, 20 * MB, 16),  # 116 MB each: 35 fit into half of it, 16 are enough
        (1024 * MB, 20 * MB, 3),  # 4 fit into half of it, one is the reference
        (512 * MB, 100 * MB, 1),  # nothing fits: two at a time is the least
        (1024 * MB, 1 * MB, 16),
    ],
)
def test_a_board_races_as_many_files_as_its_memory_holds(memory, file_bytes, files):
    assert Target.of(Board(memory_bytes=memory)).files_per_race(file_bytes) == files


def test_this_machine_is_the_default():
    here = this_machine()
    assert (here.info.name, here.processor) == ("local", this_processor())
    assert here.runtime_version("onnx") == onnxruntime.__version__
    assert here.files_per_race(1 << 40) == FILES_PER_RACE
