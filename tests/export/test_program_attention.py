from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from edgekd.export.program_graph import plain_module

TOKENS, WIDTH, HEADS = 5, 12, 3
BATCH = torch.export.Dim("batch", min=1)


class Attention(nn.Module):
    """Attention as many libraries write it, none of which edgekd knows."""

    def __init__(self, *, bias=True, order=(2, 0, 3, 1, 4), also=False):
        super().__init__()
        torch.manual_seed(0)
        self.packed, self.out = nn.Linear(WIDTH, 3 * WIDTH, bias=bias), nn.Linear(WIDTH, WIDTH)
        self.order, self.also = order, also

    def forward(self, x: Tensor) -> Tensor:
        rows = x.shape[0]
        made = self.packed(x)
        heads = made.reshape(rows, TOKENS, 3, HEADS, -1).permute(*self.order)
        query, key, value = heads.unbind(self.order.index(2))
        scores = (query @ key.transpose(-2, -1)).softmax(-1)
        answer = self.out((scores @ value).transpose(1, 2).flatten(2))
        return answer + made.mean() if self.also else answer


def tokens(rows=2):
    return torch.randn(rows, TOKENS, WIDTH, generator=torch.Generator().manual_seed(1))


def plain(network, *, any_batch=False):
    shapes = ({0: BATCH},) if any_batch else None
    program = torch.export.export(network.eval(), (tokens(),), dynamic_shapes=shapes)
    return plain_module(program.module(), Path("net.pt2"))


def largest_rank(graph):
    program = torch.export.export(graph, (tokens(),))
    values = [node.meta.get("val") for node in program.graph.nodes]
    return max(value.dim() for value in values if isinstance(value, torch.Tensor))


def count_linears(graph):
    calls = [node.target for node in graph.graph.nodes if node.op == "call_function"]
    return calls.count(torch.ops.aten.linear.default)


@pytest.mark.parametrize("any_batch", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_query_key_and_value_get_layers_of_their_own(bias, any_batch):
    network = Attention(bias=bias)
    graph = plain(network, any_batch=any_batch)
    assert count_linears(graph) == 4
    assert largest_rank(graph) == 4
    torch.testing.assert_close(graph(tokens())[0], network(tokens()))
    assert sum(p.numel() for p in graph.parameters()) == sum(
        p.numel() for p in network.parameters()
    )
    if any_batch:
        torch.testing.assert_close(graph(tokens(3))[0], network(tokens(3)))


def test_the_layers_may_be_the_second_axis_of_what_is_permuted():
    network = Attention(order=(0, 2, 3, 1, 4))
    graph = plain(network)
    assert count_linears(graph) == 4
    torch.testing.assert_close(graph(tokens())[0], network(tokens()))


def test_what_somebody_else_reads_stays_packed():
    network = Attention(also=True)
    graph = plain(network)
    assert count_linears(graph) == 2
    torch.testing.assert_close(graph(tokens())[0], network(tokens()))
