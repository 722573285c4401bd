"""Other projects' int8 files, made by interpreters of their own: they are no dependency of ours.

    python3 -m venv peers/nncf && peers/nncf/bin/pip install nncf onnx onnxruntime
    python3 -m venv peers/onnx2tf && peers/onnx2tf/bin/pip install onnx2tf
    python -m benchmarks.int8.run resnet18 --peers peers

Each peer gets the fp32 ONNX file and the calibration images that edgekd gets, and follows the
recipe of its own documentation (``peer_nncf.py``, ``peer_onnx2tf.py``). One that fails, or is not
installed, gives a row that says so.
"""

import subprocess
from pathlib import Path
from typing import Final

import numpy as np

HERE: Final = Path(__file__).parent
PEERS: Final = {"onnx": ("nncf",), "tflite": ("onnx2tf",)}
"""Format -> who writes int8 files of it; each has a ``peer_NAME.py`` here."""
ALL_PEERS: Final = frozenset(peer for peers in PEERS.values() for peer in peers)
_TIMEOUT_SECONDS: Final = 1800


def run_peer(
    name: str, peers: Path, fp32: Path, images: dict[str, np.ndarray], target: Path
) -> None:
    """Let a peer write an int8 file.

    Args:
        name: Of the peer.
        peers: The folder of their environments.
        fp32: The ONNX file.
        images: Input name to normalised float32 ``(n, 3, H, W)``.
        target: The file to write.

    Raises:
        RuntimeError: With what the peer said last, if it fails or writes nothing.
        OSError: If it has no environment.
    """
    data = target.with_suffix(".calibration.npz")
    np.savez(data, **images)  # type: ignore[arg-type]  # no input is called allow_pickle
    command = [
        str(interpreter(name, peers)),
        str(HERE / f"peer_{name}.py"),
        str(fp32),
        str(data),
        str(target),
    ]
    done = subprocess.run(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        timeout=_TIMEOUT_SECONDS,
        check=False,
        cwd=target.parent,
    )
    said = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    if done.returncode != 0:
        errors = [line for line in said if "Error:" in line] or said or ["no output"]
        raise RuntimeError(f"exit code {done.returncode}: {errors[-1]}")
    if not target.is_file():
        raise RuntimeError(f"wrote no int8 file: {said[-1] if said else 'no output'}")


def interpreter(name: str, peers: Path) -> Path:
    """Of a peer's own environment."""
    return peers / name / "bin" / "python"


def peer_version(name: str, peers: Path) -> str:
    """Of a peer, or why it cannot be said."""
    program = f"from importlib.metadata import version; print(version({name!r}))"
    done = subprocess.run(
        [str(interpreter(name, peers)), "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip() if done.returncode == 0 else "not installed"
