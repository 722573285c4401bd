import torch
from two_processes import say_of_both

from edgekd.distill.methods.gather import broadcast_buffers, gathered

TWO = """
import sys
import torch
from torch import distributed, nn
from edgekd.distill.methods.gather import broadcast_buffers, gathered

rank = int(sys.argv[2])
store = f"file://{sys.argv[1]}"
distributed.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
values, = gathered([torch.arange(rank + 1) + 10 * rank])  # one sample here, two there
assert values.tolist() == [0, 10, 11], values

norm = nn.BatchNorm2d(2)
norm.running_mean.copy_(torch.tensor([1.0, 2.0]) + 10 * rank)
norm.num_batches_tracked.fill_(5 + rank)
broadcast_buffers(norm)
assert norm.running_mean.tolist() == [1, 2]
assert norm.running_var.tolist() == [1, 1]
assert norm.num_batches_tracked.item() == 5
print("agreed")
distributed.destroy_process_group()
"""


def test_alone_everything_stays_as_it_is():
    tensor = torch.arange(3)
    assert gathered([tensor])[0] is tensor
    norm = torch.nn.BatchNorm2d(2)
    broadcast_buffers(norm)
    assert norm.running_mean.tolist() == [0, 0]


def test_two_processes_share_tensors_and_the_buffers_of_the_first(tmp_path):
    assert all("agreed" in said for said in say_of_both(TWO, tmp_path))
