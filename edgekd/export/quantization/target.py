"""The machine an int8 file is made for: what it says of itself decides its number types."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgekd.devices.book import LOCAL
from edgekd.devices.table import THIS_MACHINE, Device
from edgekd.export.quantization.onnx_types import processor_of
from edgekd.export.quantization.recipe import Processor
from edgekd.records import DeviceInfo, MeasuringDevice
from edgekd.runtimes.session import RUNTIMES

FILES_PER_RACE: Final = 9
"""More would crowd each other out of the caches."""

_FILES_ON_A_BOARD: Final = 16  # a race there costs a process on a slow processor, and a way
_COPIES: Final = 5  # of a file's bytes that a loaded one takes, its arithmetic in float included
_SPARE_BYTES: Final = 16 << 20  # and besides


@dataclass(frozen=True, kw_only=True)
class Target:
    """What a search must know of a device.

    Attributes:
        info: The device.
        processor: Which of the int8 kernel families it has.
        runtime_version: Format to the version of what runs it there.
    """

    info: DeviceInfo
    processor: Processor
    runtime_version: Callable[[str], str]

    @classmethod
    def of(cls, device: Device) -> "Target":
        """The target that a device is."""
        info = device.describe()
        return cls(
            info=info,
            processor=processor_of(info.arch, device.cpu_flags()),
            runtime_version=device.runtime_version,
        )

    def measuring(self, model_format: str, num_threads: int) -> MeasuringDevice:
        """What a record says of the device that timed files of a format."""
        return MeasuringDevice(
            name=self.info.name,
            board=self.info.board,
            cpu=self.info.cpu,
            arch=self.info.arch,
            runtime=f"{RUNTIMES[model_format].name} {self.runtime_version(model_format)}",
            num_threads=num_threads,
        )

    def files_per_race(self, file_bytes: int) -> int:
        """How many files are timed together, besides the one they are compared with.

        Fewer, larger races on a board, as far as half of its memory holds them.

        Args:
            file_bytes: Of the largest.
        """
        if self.info.name == LOCAL:
            return FILES_PER_RACE
        if self.info.memory_bytes is None:
            return FILES_PER_RACE
        fitting = self.info.memory_bytes // 2 // (_COPIES * file_bytes + _SPARE_BYTES) - 1
        return max(1, min(_FILES_ON_A_BOARD, fitting))


def this_machine() -> Target:
    """The target of an export that names no other."""
    return Target.of(THIS_MACHINE)
