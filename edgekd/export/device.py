"""The device that an export measures int8 candidates on: this machine, or a board over SSH.

Only times come from there. What a candidate answers is judged here, on the same file: int8 kernels
of two processor families round a few halves differently, and an x86 without VNNI may saturate where
the board does not. ``edgekd bench --device`` tells the metric there.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekd.config import ExportRecipe
from edgekd.console import Console
from edgekd.devices.book import LOCAL
from edgekd.devices.table import Device, open_device
from edgekd.errors import DeviceError


@contextmanager
def open_measuring_device(recipe: ExportRecipe, console: Console) -> Iterator[Device]:
    """The recipe's device, ready to race files; a board stays connected, and locked, meanwhile.

    What a board lacks is sent at once: that fails now, or not after minutes of converting.

    Args:
        recipe: Its device, wheels and formats.
        console: Told what is fetched and sent.

    Raises:
        ConfigError: If a devices file is damaged.
        DeviceError: If the device is unknown, emulated, cannot be reached, or will not do.
    """
    wheels = None if recipe.wheels is None else Path(recipe.wheels)
    with open_device(recipe.device, console, wheels=wheels) as device:
        if recipe.device != LOCAL:
            _require_real(device)
            for model_format in recipe.formats:
                device.runtime_version(model_format)
        yield device


def _require_real(device: Device) -> None:
    info = device.describe()
    if info.emulated:
        raise DeviceError(
            f"{info.name}: it is emulated, and which int8 file is fast cannot be told from times "
            "that mean nothing; name a real board, or leave --device out to measure on this machine"
        )
