"""Everything that imports TensorFlow: ``python -m edgekd.export.reference_worker JOB``."""

from typing import Any

import numpy as np

from edgekd.export.subprocesses import read_job


def answer(job: dict[str, Any]) -> None:
    """Run a TFLite file with reference kernels; inputs ``(n, 1, ...)`` to outputs ``(n, ...)``."""
    from tensorflow.lite.python.interpreter import Interpreter, OpResolverType

    interpreter = Interpreter(
        model_path=job["model"],
        num_threads=1,
        experimental_op_resolver_type=OpResolverType.BUILTIN_REF,
    )
    interpreter.allocate_tensors()
    indices = {d["name"]: d["index"] for d in interpreter.get_input_details()}
    output = interpreter.get_output_details()[0]["index"]
    with np.load(job["inputs"], allow_pickle=False) as file:
        inputs = {name: file[str(i)] for i, name in enumerate(job["names"])}
    answers = []
    for row in range(len(next(iter(inputs.values())))):
        for name, values in inputs.items():
            interpreter.set_tensor(indices[name], values[row])
        interpreter.invoke()
        answers.append(interpreter.get_tensor(output)[0])
    np.save(job["outputs"], np.stack(answers))


if __name__ == "__main__":
    answer(read_job())
