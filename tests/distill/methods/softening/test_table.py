import json
import subprocess
import sys

import torch

from edgekd.distill.methods.softening.table import PredictionTable, table_bytes

CPU = torch.device("cpu")


def test_the_size_by_hand():
    # CIFAR-100, four rotations, three branches, in halves: 50,000 * 4 * 3 * 400 * 2 B
    assert table_bytes(50_000, 4 * 3 * 400) == 480_000_000


def test_a_row_comes_back_for_its_sample_in_any_order():
    table = PredictionTable(6, 2, device=CPU)
    rows = torch.tensor([[0.25, 0.75], [0.5, 0.5], [1.0, 0.0]])
    table.write(torch.tensor([4, 0, 2]), rows)
    found, known = table.read(torch.tensor([2, 3, 4, 0]))
    assert known.tolist() == [True, False, True, True]
    assert torch.equal(found[[0, 2, 3]], rows[[2, 0, 1]])
    assert found[1].tolist() == [0.0, 0.0]


def test_the_last_answer_counts():
    table = PredictionTable(2, 1, device=CPU)
    for value in (0.25, 0.5):
        table.write(torch.tensor([1]), torch.tensor([[value]]))
    assert table.read(torch.tensor([1]))[0].item() == 0.5


def test_the_state_fills_another_table():
    table, other = PredictionTable(3, 2, device=CPU), PredictionTable(3, 2, device=CPU)
    table.write(torch.tensor([1]), torch.tensor([[0.25, 0.75]]))
    other.load_state(table.state())
    found, known = other.read(torch.arange(3))
    assert found[1].tolist() == [0.25, 0.75]
    assert known.tolist() == [False, True, False]


SHARE = """
import json, sys
import torch
from edgekd.distill.methods.softening.table import PredictionTable

rank, store = int(sys.argv[1]), sys.argv[2]
torch.distributed.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
table = PredictionTable(5, 2, device=torch.device("cpu"))
for epoch in (1, 2):  # the second epoch shows the samples to the other process
    mine = torch.tensor([0, 3]) if (rank + epoch) % 2 else torch.tensor([1, 4])
    table.write(mine, torch.stack([mine / 8, torch.full((2,), epoch / 4)], dim=1))
    table.synchronise()
print(json.dumps([tensor.tolist() for tensor in table.read(torch.arange(5))]))
torch.distributed.destroy_process_group()
"""


def test_two_processes_end_with_one_table(tmp_path):
    command = [sys.executable, "-c", SHARE]
    workers = [
        subprocess.Popen(
            [*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True
        )
        for rank in range(2)
    ]
    found = [json.loads(worker.communicate(timeout=120)[0]) for worker in workers]
    assert found[0] == found[1]
    rows, known = found[0]
    assert known == [True, True, False, True, True]
    assert rows[0] == [0.0, 0.5]
    assert rows[3] == [0.375, 0.5]
    assert rows[4] == [0.5, 0.5]
    assert rows[2] == [0.0, 0.0]
