"""The runner as one file for a board: a zip of the very modules that measure here."""

import io
import zipfile
from importlib import resources
from typing import Final

_MODULES: Final = (
    "__init__",
    "errors",
    *(
        f"devices/{name}"
        for name in (
            "__init__", "calls", "energy", "job", "memory", "other_load", "probe", "rounds",
            "runner", "sustain",
        )
    ),
    *(
        f"runtimes/{name}"
        for name in (
            "__init__", "encoding", "litert", "onnx_file", "onnx_runtime", "precision",
            "random_inputs", "session",
        )
    ),
)  # fmt: skip
_MAIN: Final = """\
import sys

sys.path.insert(1, sys.argv[1])  # the environment; the zip itself is before it

from edgekd.devices.runner import main

sys.exit(main(sys.argv[2:]))
"""
_LONG_AGO: Final = (1980, 1, 1, 0, 0, 0)  # the same modules, the same bytes


def runner_program() -> bytes:
    """A zip that ``python PROGRAM SITE JOB.json`` runs; equal modules give equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for module in _MODULES:
            source = resources.files("edgekd").joinpath(f"{module}.py").read_bytes()
            _add(archive, f"edgekd/{module}.py", source)
        _add(archive, "__main__.py", _MAIN.encode())
    return content.getvalue()


def _add(archive: zipfile.ZipFile, name: str, content: bytes) -> None:
    archive.writestr(zipfile.ZipInfo(name, _LONG_AGO), content, zipfile.ZIP_DEFLATED)
