"""``python -m edgekd.export.onnx_simplifier JOB``: onnxsim, whose native code may crash."""

import onnx
import onnxsim

from edgekd.export.subprocesses import read_job


def simplify(source: str, target: str) -> None:
    """Simplify one file into another.

    Raises:
        ValueError: If onnxsim's own comparison of the two fails.
    """
    model, same = onnxsim.simplify(onnx.load(source))
    if not same:
        raise ValueError("onnxsim's own check failed")
    onnx.save(model, target)


if __name__ == "__main__":
    _job = read_job()
    simplify(_job["input"], _job["output"])
