"""``python -m edgekd.export.onnx_simplifier JOB``: onnxsim, whose native code may crash."""

from typing import Final

import onnx
import onnxsim

from edgekd.export.subprocesses import read_job

_SKIPPED: Final = ("fuse_qkv",)
"""It makes one product of three, whose biases are then additions of their own, behind a split."""


def simplify(source: str, target: str) -> None:
    """Simplify one file into another.

    Raises:
        ValueError: If onnxsim's own comparison of the two fails.
    """
    model, same = onnxsim.simplify(onnx.load(source), skipped_optimizers=list(_SKIPPED))
    if not same:
        raise ValueError("onnxsim's own check failed")
    onnx.save(model, target)


if __name__ == "__main__":
    _job = read_job()
    simplify(_job["input"], _job["output"])
