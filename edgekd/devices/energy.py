"""Energy of one inference, on machines that can tell. Standard library only: it runs on boards.

Three kinds of source: RAPL's counters (x86 packages), INA sensors through hwmon (the supply of
many boards), and the power chip of a Raspberry Pi 5, whose rails leave out what hangs on USB.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Protocol

from edgekd.devices.probe import vcgencmd

_ROOT: Final = Path("/")
_IDLE_SECONDS: Final = 1.0
_SAMPLE_SECONDS: Final = 0.1
_INA: Final = "ina"  # every driver of that family is called ina and a number


class Meter(Protocol):
    """A source of energy readings."""

    source: str

    def start(self) -> None:
        """Begin an interval."""

    def stop(self) -> float:
        """Joules since :meth:`start`."""


def measure_energy(
    meter: Meter, call: Callable[[], Any], *, seconds: float, beat: Callable[[], None]
) -> dict[str, Any]:
    """An ``Energy`` record as plain values: idle for a second, then calls without a pause.

    Args:
        meter: Where energy is read.
        call: One inference.
        seconds: How long calls go on.
        beat: Called between two calls, to show that it is alive.
    """
    meter.start()
    began = time.monotonic()
    time.sleep(_IDLE_SECONDS)
    idle_watts = meter.stop() / (time.monotonic() - began)
    beat()
    meter.start()
    began, num_calls = time.monotonic(), 0
    while num_calls == 0 or time.monotonic() - began < seconds:
        call()
        num_calls += 1
    joules = meter.stop()
    beat()
    return {
        "source": meter.source,
        "joules_per_inference": joules / num_calls,
        "idle_watts": idle_watts,
        "num_inferences": num_calls,
    }


def find_meter(root: Path = _ROOT) -> tuple[Meter | None, str]:
    """The best source of this machine, or why there is none.

    Args:
        root: Where ``sys`` is mounted; another folder in tests.
    """
    sensor = _ina(root)
    if sensor is not None:
        return sensor, ""
    if root == _ROOT and _rail_watts(vcgencmd("pmic_read_adc") or "") is not None:
        return _Gauge(
            "vcgencmd pmic_read_adc: rails of the power chip, USB not included", _pmic
        ), ""
    counters = sorted(root.glob("sys/class/powercap/intel-rapl:?/energy_uj"))
    if not counters:
        return None, "no INA sensor in /sys/class/hwmon, no vcgencmd pmic_read_adc, no RAPL"
    try:
        return _Rapl(counters), ""
    except OSError as error:
        return None, f"RAPL is there but cannot be read ({error.strerror}); it needs root"


class _Rapl:
    """Joules of all processor packages, from counters that wrap around."""

    source = "RAPL: processor packages"

    def __init__(self, counters: list[Path]) -> None:
        self._counters = counters
        self._ranges = [_integer(path.with_name("max_energy_range_uj")) for path in counters]
        self._at_start = [_integer(path) for path in counters]

    def start(self) -> None:
        self._at_start = [_integer(path) for path in self._counters]

    def stop(self) -> float:
        now = [_integer(path) for path in self._counters]
        used = [
            (after - before) % (largest + 1)
            for before, after, largest in zip(self._at_start, now, self._ranges, strict=True)
        ]
        return sum(used) / 1e6


class _Gauge:
    """Joules as mean power times time; power is read beside the calls in a thread."""

    def __init__(self, source: str, watts: Callable[[], float | None]) -> None:
        self.source = source
        self._watts = watts

    def start(self) -> None:
        self._readings: list[float] = []
        self._enough = threading.Event()
        self._began = time.monotonic()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        seconds = time.monotonic() - self._began
        self._enough.set()
        self._thread.join()
        return seconds * sum(self._readings) / max(1, len(self._readings))

    def _sample(self) -> None:
        while True:
            watts = self._watts()
            if watts is not None:
                self._readings.append(watts)
            if self._enough.wait(_SAMPLE_SECONDS):
                return


def _ina(root: Path) -> _Gauge | None:
    """The first INA sensor that tells power, or voltage and current, of one channel."""
    for folder in sorted(root.glob("sys/class/hwmon/hwmon*")):
        try:
            name = (folder / "name").read_text().strip()
        except OSError:
            continue
        if not name.startswith(_INA):
            continue
        watts = _ina_watts(folder)
        if watts is not None and watts() is not None:
            return _Gauge(f"hwmon {name}, channel 1", watts)
    return None


def _ina_watts(folder: Path) -> Callable[[], float | None] | None:
    # Documentation/hwmon/sysfs-interface: power in microwatts, in in mV, curr in mA
    power = folder / "power1_input"
    volts, amperes = folder / "in1_input", folder / "curr1_input"
    if power.exists():
        return lambda: _reading(power, 1e6)
    if volts.exists() and amperes.exists():
        return lambda: _product(_reading(volts, 1e3), _reading(amperes, 1e3))
    return None


def _product(volts: float | None, amperes: float | None) -> float | None:
    return None if volts is None or amperes is None else volts * amperes


def _reading(path: Path, unit: float) -> float | None:
    try:
        return _integer(path) / unit
    except (OSError, ValueError):
        return None


def _pmic() -> float | None:
    return _rail_watts(vcgencmd("pmic_read_adc") or "")


def _rail_watts(text: str) -> float | None:
    """Sum over rails of volts times amperes.

    Lines are ``VDD_CORE_A current(7)=1.92380000A`` and ``VDD_CORE_V volt(15)=0.72119220V``; a rail
    of which only one of the two is told does not count.
    """
    values: dict[str, dict[str, float]] = {"A": {}, "V": {}}
    for line in text.splitlines():
        name, _, rest = line.strip().partition(" ")
        rail, _, kind = name.rpartition("_")
        number = rest.partition("=")[2].rstrip("AV")
        try:
            values[kind][rail] = float(number)
        except (KeyError, ValueError):
            continue
    both = values["A"].keys() & values["V"].keys()
    return sum(values["A"][rail] * values["V"][rail] for rail in both) if both else None


def _integer(path: Path) -> int:
    return int(path.read_text())
