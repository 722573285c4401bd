"""Everything that imports litert-torch: ``python -m edgekd.export.tflite_worker JOB``.

Its imports take seconds and print from C++; so it is a process of its own.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from edgekd.export.adjustments.apply import adjusted
from edgekd.export.adjustments.record import Adjustments
from edgekd.export.folded_weights import load_folded
from edgekd.export.network import load_network
from edgekd.export.prepare import Deployed, prepare_for_export, sample_input
from edgekd.export.subprocesses import read_job


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
    """Bundle or program to fp32 file."""
    import litert_torch

    record, student = load_network(Path(job["bundle"]))
    specs = record.preprocess.inputs
    # from JSON text: it has lists where the record, which converts nothing, has tuples
    adjustments = Adjustments.model_validate_json(json.dumps(job["adjustments"]))
    network = prepare_for_export(student, specs)
    if job["weights"] is not None:
        load_folded(network, Path(job["weights"]))
    deployed = Deployed(
        adjusted(network, adjustments),
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


if __name__ == "__main__":
    torch.set_num_threads(1)  # one kernel schedule: the same bundle gives the same file
    convert(read_job())
