"""Everything that imports the LiteRT tool chain: ``python -m edgekd.export.tflite_worker JOB``.

Its imports take seconds and print from C++; so it is a process of its own. It converts a bundle
to an fp32 file and, where the job names one, quantizes that to an int8 file.
"""

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn

from edgekd.export.prepare import Deployed, prepare_for_export, sample_input
from edgekd.export.subprocesses import read_job
from edgekd.students.build import load_student

_SIGNATURE: Final = "serving_default"


class NamedTensors(nn.Module):
    """Names inputs and output, which TFLite signatures take from Python's own names."""

    def __init__(self, deployed: nn.Module, output_name: str) -> None:
        super().__init__()
        self.deployed = deployed
        self.output_name = output_name

    def forward(self, **inputs: Tensor) -> dict[str, Tensor]:
        """Keyword per input to ``{"logits": (B, K)}`` or ``{"embedding": (B, D)}``."""
        return {self.output_name: self.deployed(*inputs.values())}


def convert(job: dict[str, Any]) -> None:
    """Bundle to fp32 file."""
    import litert_torch

    record, student = load_student(Path(job["bundle"]))
    specs = record.preprocess.inputs
    deployed = Deployed(
        prepare_for_export(student, specs),
        specs,
        encoding=job["encoding"],
        channel_last=job["channel_last"],
    )
    samples = {
        spec.name: sample_input(spec, job["encoding"], channel_last=job["channel_last"])
        for spec in specs
    }
    named = NamedTensors(deployed, record.arch.output_name).eval()
    model = litert_torch.convert(named, sample_kwargs=samples)
    model.export(job["fp32"])


def quantize(job: dict[str, Any]) -> None:
    """fp32 file to int8 file, with ranges from calibration samples."""
    recipe = _tool("recipe_manager").RecipeManager()
    recipe.load_quantization_recipe(_tool("recipe").static_wi8_ai8())
    for scope, operator in job["keep_float"]:
        recipe.add_quantization_config(
            scope,
            _tool("qtyping").TFLOperationName(operator),
            algorithm_key=_tool("algorithm_manager").AlgorithmName.NO_QUANTIZE,
        )
    model = Path(job["fp32"]).read_bytes()
    # Ranges over all samples, as the ONNX side takes them; the quantizer's own default is a
    # moving average, which depends on the samples' order.
    calibrator = _tool("calibrator").Calibrator(
        model, num_threads=1, qsv_update_func=_tool("utils.qsv_utils").min_max_update
    )
    with np.load(job["calibration"], allow_pickle=False) as arrays:
        columns = {name: arrays[name] for name in arrays.files}
    rows = len(next(iter(columns.values())))
    samples = [{name: column[i : i + 1] for name, column in columns.items()} for i in range(rows)]
    calibrator.calibrate({_SIGNATURE: samples}, recipe)
    quantizer = _tool("quantizer").Quantizer(model, recipe.get_quantization_recipe())
    result = quantizer.quantize(calibrator.get_model_qsvs(), enable_progress_report=False)
    Path(job["int8"]).write_bytes(result.quantized_model)


def _tool(name: str) -> Any:
    """A module of the quantizer, whose package is being renamed: the new name first."""
    package = "litert_quantizer" if find_spec("litert_quantizer") else "ai_edge_quantizer"
    return import_module(f"{package}.{name}")


if __name__ == "__main__":
    torch.set_num_threads(1)  # one kernel schedule: the same bundle gives the same file
    _job = read_job()
    convert(_job)
    if "int8" in _job:
        quantize(_job)
