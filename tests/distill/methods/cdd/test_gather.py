"""Two processes: what each has seen, all know; masks and queues agree."""

import subprocess
import sys
from pathlib import Path

import torch

from edgekd.distill.methods.cdd.gather import broadcast_buffers, gathered

TWO = """
import sys
import torch
from torch import distributed, nn
from edgekd.config import CddRecipe
from edgekd.distill.methods.cdd.channels import Channels
from edgekd.distill.methods.cdd.compression import Compression, Pooled
from edgekd.distill.methods.cdd.gather import broadcast_buffers, gathered
from edgekd.distill.methods.cdd.indicator import IndicatedNorm
from edgekd.distill.methods.cdd.pull import Pull

rank = int(sys.argv[2])
store = f"file://{sys.argv[1]}"
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
values, = gathered([torch.arange(rank + 1) + 10 * rank])  # one sample here, two there
assert values.tolist() == [0, 10, 11], values

norm = nn.BatchNorm2d(2)
norm.running_mean.fill_(float(rank))
broadcast_buffers(norm)
assert norm.running_mean.tolist() == [0, 0]

part = IndicatedNorm(nn.BatchNorm2d(8), nn.Identity())
part.indicator.weight.grad = torch.zeros_like(part.indicator.weight)
pull = Pull(0.1, lambda step: 0.1, momentum=0.0, steps=(0, 10), deadline=False)
rule = Compression(
    CddRecipe(queue_size=16),
    [Channels.all_of(8)],
    class_neighbours=False,
    pull=pull,
    target=None,
)
generator = torch.Generator().manual_seed(rank)
for step in range(3):
    strength = torch.tensor([1e-4, 1e-4, 1, 1, 1, 1, 1, 1])
    seen = torch.rand(4, 8, generator=generator) * strength
    pooled = Pooled(teacher=[seen], student=[seen], labels=torch.arange(4))
    rule.step([part], [None], pooled, step=step, progress=0.1)
assert len(rule.queue.labels) == 16
assert not rule.channels[0].mask[:2].any()
for name, tensor in rule.state().items():
    other = [torch.empty_like(tensor) for _ in range(2)]
    distributed.all_gather(other, tensor)
    assert torch.equal(other[0], other[1]), name
print("agreed")
distributed.destroy_process_group()
"""


def test_alone_everything_stays_as_it_is():
    tensor = torch.arange(3)
    assert gathered([tensor])[0] is tensor
    norm = torch.nn.BatchNorm2d(2)
    broadcast_buffers(norm)
    assert norm.running_mean.tolist() == [0, 0]


def test_two_processes_come_to_the_same_masks_and_queues(tmp_path: Path):
    arguments = [sys.executable, "-c", TWO, str(tmp_path / "store")]
    both = [
        subprocess.Popen([*arguments, str(rank)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for rank in range(2)
    ]
    outputs = [process.communicate(timeout=500)[0].decode() for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert all("agreed" in output for output in outputs)
