"""A Keras file or a SavedModel as a teacher, computed by TensorFlow in a process of its own.

Two frameworks in one process fight over threads, devices and symbols; so TensorFlow lives in
:mod:`edgekd.teachers.keras_worker`, and only raw float32 buffers cross the pipe.
"""

import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import weakref
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import torch
from torch import Tensor

from edgekd.bundle import sha256_of
from edgekd.errors import BundleError, MissingExtraError, ModelError
from edgekd.records import TeacherRef
from edgekd.teachers.file import FileTeacher, Network, input_encoder
from edgekd.teachers.keras_guard import check_keras_archive
from edgekd.teachers.keras_worker import read_frame, write_frame
from edgekd.teachers.request import TeacherRequest

_SAVED_MODEL: Final = "saved_model.pb"
_CHANNELS: Final = (1, 3)
_LOG_TAIL: Final = 300  # characters of TensorFlow's output in an error


def matches(request: TeacherRequest) -> bool:
    """Whether the source is a ``.keras`` file or a SavedModel folder."""
    path = request.path
    return (path.suffix == ".keras" and path.is_file()) or (path / _SAVED_MODEL).is_file()


def open_source(request: TeacherRequest) -> FileTeacher:
    """The network, running in its worker: one input ``(B, H, W, C)``, one output ``(B, K)``.

    Raises:
        MissingExtraError: If TensorFlow is not installed.
        BundleError: If the file is damaged.
        ModelError: If it could run code, or takes or answers anything else.
    """
    path = request.path
    if importlib.util.find_spec("tensorflow") is None:
        raise MissingExtraError("tensorflow", extra="tensorflow", purpose="run a Keras teacher")
    if path.is_file():
        check_keras_archive(path)
    worker = KerasWorker(path)
    batch, height, width, channels = _image_shape(worker.hello, path)
    size = (height, width) if height is not None and width is not None else None
    network = Network(
        run=worker.run,
        encoder=input_encoder(request, channels=channels, size=size),
        batch_size=batch,
    )
    ref = TeacherRef(
        source=request.source,
        kind="keras",
        sha256=_digest(path),
        num_params=worker.hello.get("num_params"),
    )
    return FileTeacher(network, ref=ref, request=request)


class KerasWorker:
    """The process that holds the network; it ends when this object or this process does.

    Raises:
        BundleError: If TensorFlow cannot load the file.
        ModelError: If the worker refuses it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by _finish
        self._process = subprocess.Popen(
            [sys.executable, "-m", "edgekd.teachers.keras_worker", str(path.resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env={
                **os.environ,
                "TF_CPP_MIN_LOG_LEVEL": "3",
                "KERAS_BACKEND": "tensorflow",
                "CUDA_VISIBLE_DEVICES": "-1",  # the GPU is torch's
                "EDGEKD_NUM_THREADS": str(torch.get_num_threads()),
            },
        )
        self._finalizer = weakref.finalize(self, _finish, self._process, self._log)
        self.hello, _ = self._receive()
        if "damaged" in self.hello:
            raise BundleError(
                f"{path}: TensorFlow cannot load it ({self.hello['damaged']}); save it again"
            )
        if "refused" in self.hello:
            raise ModelError(f"{path}: {self.hello['refused']}")

    def run(self, x: Tensor) -> Tensor:
        """``(B, C, H, W)`` float32 ``-> (B, K)``; the network sees ``(B, H, W, C)``.

        Raises:
            ModelError: If the network fails on this input, or the worker has died.
        """
        pixels = x.permute(0, 2, 3, 1).contiguous().numpy()
        try:
            write_frame(self._process.stdin, {"shape": pixels.shape}, pixels.tobytes())
        except OSError as error:
            raise self._died() from error
        header, payload = self._receive()
        if "error" in header:
            raise ModelError(f"teacher {self._path}: does not run ({header['error']})")
        answers = np.frombuffer(payload, dtype="<f4").reshape(header["shape"])
        return torch.from_numpy(answers.copy())

    def close(self) -> None:
        """End the process now."""
        self._finalizer()

    def _receive(self) -> tuple[dict[str, Any], bytes]:
        frame = read_frame(self._process.stdout)
        if frame is None:
            raise self._died()
        return frame

    def _died(self) -> ModelError:
        self._process.wait()
        self._log.seek(0)
        tail = " ".join(self._log.read().decode(errors="replace").split())[-_LOG_TAIL:]
        return ModelError(
            f"teacher {self._path}: TensorFlow's process ended (status "
            f"{self._process.returncode}; {tail or 'it said nothing'}); "
            "check its memory, and that the file opens in TensorFlow"
        )


def _digest(path: Path) -> str:
    """sha256 of the file, or of the sorted names and digests of a folder's files."""
    if path.is_file():
        return sha256_of(path)
    digest = hashlib.sha256()
    for file in sorted(part for part in path.rglob("*") if part.is_file()):
        digest.update(f"{file.relative_to(path).as_posix()} {sha256_of(file)}\n".encode())
    return digest.hexdigest()


def _finish(process: "subprocess.Popen[bytes]", log: IO[bytes]) -> None:
    process.kill()  # it holds no state
    process.wait()
    for pipe in (process.stdin, process.stdout, log):
        if pipe is not None:
            with suppress(OSError):  # a frame that was never read
                pipe.close()


def _image_shape(
    hello: dict[str, Any], path: Path
) -> tuple[int | None, int | None, int | None, int]:
    shape = hello["input_shape"]
    if len(shape) != 4 or shape[3] not in _CHANNELS:
        raise ModelError(
            f"teacher {path}: takes {shape}; expected images (B, H, W, C) with 1 or 3 channels"
        )
    batch, height, width, channels = shape
    return batch, height, width, channels
