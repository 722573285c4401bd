"""One row of the table: torch-pruning's pruner, then the same distillation for the same epochs.

    python -m benchmarks.cdd.peer_torch_pruning \
        --recipe RECIPE.toml --data DATA --teacher runs/teacher \
        --weights runs/teacher/weights.safetensors --share 0.35 --seed 0 -o runs/torch-pruning-seed0

The dense student starts from the weights it is given and is pruned by torch-pruning's
``BasePruner`` as the quickstart of its README does: group magnitude importance, the same share of
channels off every layer but the last, in one step. The README's other way, one ranking of all
layers, comes there with the warning that it may prune single layers too far (``isomorphic=True``
is to help); it is not taken. The share is found by bisection: the largest that leaves the MACs
asked for, so that the peer never has fewer than the others. Channels are not rounded to multiples
of eight, which is for speed on accelerators and would miss the target. Then edgekd's ``kd`` of the
recipe's task trains it. The folder holds history and metrics of a normal run; edgekd cannot build
the network anew, whose layers have any width.
"""

import argparse
import copy
import json
from pathlib import Path

import torch
from torch import nn

try:
    import torch_pruning
except ImportError:
    raise SystemExit(
        "torch-pruning is not installed; only this row needs it: pip install torch-pruning==1.6.1"
    ) from None

from edgekd.config import TrainRecipe, build_recipe
from edgekd.distill.methods.protocol import Batch, Losses, Method, Run
from edgekd.distill.methods.table import make_method
from edgekd.distill.run import distill
from edgekd.records import ArchSpec
from edgekd.students.count import count_cost
from edgekd.students.head import IdentityNetwork

BISECTIONS = 10  # to a thousandth of the channels; the widest layer has 512


class PrunedFirst(Method):
    """``kd`` on a student that torch-pruning made smaller."""

    def __init__(self, recipe: TrainRecipe, share: float) -> None:
        self.inner = make_method(recipe.settled(1))  # reads neither batch size nor learning rate
        self.teacher_needs = self.inner.teacher_needs
        self.share = share

    def enter(self, run: Run) -> None:
        """Remember the input's shape."""
        self.shape = run.input_shape

    def teacher_layers(self, teacher: nn.Module) -> tuple[nn.Module, ...]:
        """Those of ``kd``."""
        return tuple(self.inner.teacher_layers(teacher))

    def attach(self, student: nn.Module) -> nn.Module:
        """The pruned student; the same weights give the same one, so that a run can resume."""
        network = student.network if isinstance(student, IdentityNetwork) else student
        prune(network, self.shape, self.share)
        return student

    def losses(self, module: nn.Module, batch: Batch) -> Losses:
        """Those of ``kd``."""
        return self.inner.losses(module, batch)

    def finished_arch(self, arch: ArchSpec) -> ArchSpec:
        """Says that no family of edgekd builds it."""
        return arch.model_copy(update={"family": "torch-pruning"})


def prune(network: nn.Module, shape: tuple[int, ...], share: float) -> None:
    """Prune in place, as much as leaves no less than ``share`` of the MACs."""
    goal = share * count_cost(network, [shape]).macs
    enough, too_few = 0.0, 1.0
    for _ in range(BISECTIONS):
        middle = (enough + too_few) / 2
        trial = copy.deepcopy(network)
        remove(trial, shape, middle)
        if count_cost(trial, [shape]).macs >= goal:
            enough = middle
        else:
            too_few = middle
    remove(network, shape, enough)


def remove(network: nn.Module, shape: tuple[int, ...], ratio: float) -> None:
    """Take this share of channels off every layer but the last, in place."""
    network.eval()
    last = [part for part in network.modules() if isinstance(part, nn.Linear)][-1]
    torch_pruning.pruner.BasePruner(
        network,
        torch.zeros(1, *shape),
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=[last],
    ).step()
    network.train()


def main() -> None:
    """Parse, prune, train, print the record."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    for name in ("recipe", "teacher", "weights"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--share", type=float, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--set", dest="assignments", action="append", default=[])
    given = parser.parse_args()
    flags = {
        "data": given.data,
        "teacher": str(given.teacher),
        "weights": str(given.weights),
        "method": "kd",
        "seed": given.seed,
        "num_threads": given.threads,
    }
    recipe = build_recipe(
        TrainRecipe, recipe=given.recipe, assignments=given.assignments, flags=flags
    )
    guest = PrunedFirst(recipe, given.share)
    record = distill(recipe, given.output, resume=True, guest=guest)
    print(json.dumps(record.model_dump(mode="json", by_alias=True)))


if __name__ == "__main__":
    main()
