"""Everything that imports TensorFlow: ``python -m edgekd.export.reference_worker JOB``."""

import time
from typing import Any

import numpy as np

from edgekd.export.subprocesses import read_job


def answer(job: dict[str, Any]) -> None:
    """Run a TFLite file with reference kernels; inputs ``(n, 1, ...)`` to outputs ``(m, ...)``.

    ``m`` is ``n``, or fewer rows after which the job's time was over. Values of the tensors that
    the job names are written too, ``(m, 1, ...)`` each.
    """
    from tensorflow.lite.python.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=job["model"],
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
        experimental_preserve_all_tensors=True,
    )
    interpreter.allocate_tensors()
    indices = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    output = interpreter.get_output_details()[0]["index"]
    with np.load(job["inputs"], allow_pickle=False) as file:
        inputs = {name: file[str(i)] for i, name in enumerate(job["names"])}
    answers: list[Any] = []
    values: dict[int, list[Any]] = {index: [] for index in job["tensors"]}
    end = time.monotonic() + job["seconds"]
    for row in range(len(next(iter(inputs.values())))):
        if answers and time.monotonic() > end:
            break
        for name, own in inputs.items():
            interpreter.set_tensor(indices[name], own[row])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(output)[0])
        for index, seen in values.items():
            seen.append(interpreter.get_tensor(index))
    np.save(job["outputs"], np.stack(answers))
    stacked = {str(index): np.stack(seen) for index, seen in values.items()}
    np.savez(job["values"], **stacked)  # type: ignore[arg-type]  # its stub knows one keyword


if __name__ == "__main__":
    answer(read_job())
