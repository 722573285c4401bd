"""This machine as a device: describes itself and runs the runner in a fresh process."""

from typing import Final

from edgekd.devices.book import LOCAL
from edgekd.devices.drive import IDLE_SECONDS, Watch, drive
from edgekd.devices.job import Job, Outcome
from edgekd.devices.local_process import start_runner
from edgekd.devices.probe import cpu_flags as cpu_flags
from edgekd.devices.probe import probe
from edgekd.devices.race import race as race
from edgekd.records import DeviceInfo
from edgekd.runtimes.session import load_runtime

NAME: Final = LOCAL


def describe() -> DeviceInfo:
    """This machine, as it is at the moment."""
    return DeviceInfo(name=NAME, **probe())


def runtime_version(model_format: str) -> str:
    """Of what runs files of a format here.

    Raises:
        MissingExtraError: If it is not installed.
    """
    return load_runtime(model_format).version()


def measure(
    job: Job, *, watch: Watch = lambda event: None, idle_seconds: float = IDLE_SECONDS
) -> Outcome:
    """Run one job in a fresh process.

    Args:
        job: What to measure; its paths are of this machine.
        watch: Called with every event of the runner, for progress.
        idle_seconds: How long the runner may stay silent.

    Raises:
        BundleError: If the model file is damaged.
        DeviceError: If the runner crashed, hung or was killed; its last phase is named.
        MissingExtraError: If the runtime is not installed.
    """
    with start_runner(job.to_json(), job.num_threads) as process:
        return drive(job, process, watch=watch, idle_seconds=idle_seconds)
