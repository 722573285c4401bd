"""The methods through the whole of ``distill``: bundle, history, interruption, processes."""

import json
import signal
import subprocess
import sys
import weakref

import pytest
import torch

from edgekd.bench.run import bench
from edgekd.config import BenchRecipe, ExportRecipe, TrainRecipe, to_toml
from edgekd.console import SilentConsole
from edgekd.distill.checkpoint import read_checkpoint
from edgekd.distill.methods.lsskd.branches import LayeredNetwork
from edgekd.distill.methods.softening.past import Past
from edgekd.distill.run import distill
from edgekd.distill.workspace import open_workspace
from edgekd.errors import ConfigError, InterruptedRun
from edgekd.export.describe import describe
from edgekd.export.run import export
from edgekd.students.build import build_student, load_student
from edgekd.students.count import count_cost


class Deaf(SilentConsole):
    def warn(self, text):
        """A busy machine is no failure of these tests."""


def recipe(method="lsskd", **changes):
    plan = {
        "data": "builtin:digits",
        "student": "resnet8",
        "student_options": {"width": 4},
        "method": method,
        "epochs": 3,
        "batch_size": 128,
        "lr": 0.1,
        "precision": "fp32",
        "num_threads": 1,
        "lsskd": {"kl_ramp_epochs": 2},
    }
    return TrainRecipe(**(plan | changes))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lsskd") / "run"
    return folder, distill(recipe(), folder)


def test_the_bundle_is_the_plain_student(whole):
    folder, record = whole
    again, module = load_student(folder)
    plain = build_student(record.arch)
    assert again == record
    assert set(module.state_dict()) == set(plain.state_dict())
    assert count_cost(plain, [(1, 8, 8)]).macs == record.macs
    assert record.metrics[1].value > 0.6


@torch.no_grad()
def test_the_answers_are_those_of_the_main_branch_of_the_whole_network(whole):
    """The checkpoint of the last step still has the branches; the bundle has not."""
    folder, record = whole
    trained = read_checkpoint(folder / "checkpoint.safetensors").parts["student"]
    network = LayeredNetwork(
        build_student(record.arch),
        [torch.zeros(1, 1, 8, 8)],
        num_classes=10,
        num_transformations=4,
        kind="copy",
    )
    network.load_state_dict(trained)
    x = torch.randn(4, 1, 8, 8)
    output = network.eval().answer_all(x)
    assert len(output.joint) == 3
    _, module = load_student(folder)
    assert torch.equal(module(x), output.logits)


def test_its_files_cost_what_the_plain_student_costs_and_are_measured_like_any_other(
    whole, tmp_path
):
    folder, record = whole
    loose = {"min_agreement": 0.5, "min_sqnr_db": 5.0, "max_drop_points": 100.0, "num_parity": 40}
    data = {"data": "builtin:digits"}
    plan = ExportRecipe(int8="full", num_calibration=64, **data, **loose)
    models = export(folder, tmp_path / "out", plan, Deaf())
    plain = count_cost(build_student(record.arch), [(1, 8, 8)])
    for model in models[::2]:
        assert model.precision == "fp32"
        assert describe(tmp_path / "out" / model.file)["macs"] == plain.macs
    quick = {"num_calls": 3, "num_warmup": 1, "min_seconds": 0.0, "energy_seconds": 0.0}
    found = bench([tmp_path / "out"], BenchRecipe(**data, **quick), Deaf())
    assert sorted(m.precision for m in found) == ["fp32", "fp32", "int8-static", "int8-static"]
    for measured in found:
        assert measured.source_sha256 == record.weights_sha256
        assert measured.metric.value == pytest.approx(record.metrics[1].value, abs=0.1)


def test_the_history_has_every_term(whole):
    rows = (whole[0] / "history.jsonl").read_text().splitlines()
    terms = {"label_loss", "head_loss", "kl_loss", "marginal_loss", "feature_loss"}
    assert terms <= json.loads(rows[-1]).keys()


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"soft_labels": {"source": "previous"}},
        {"soft_labels": {"source": "ema", "ema_decay": 0.9}},
        {"method": "ps-kd"},
    ],
)
def test_an_interrupted_run_ends_with_the_same_weights(whole, tmp_path, monkeypatch, changes):
    plan = recipe(**changes)
    expected = whole[1] if not changes else distill(plan, tmp_path / "whole")
    after_step = Past.after_step
    steps, read = [], []

    def interrupted(self, module):
        after_step(self, module)
        steps.append(self)
        assert not any(checkpoint() for checkpoint in read)  # it holds a table as well
        if len(steps) == 14:  # in the middle of the second of three epochs of nine steps
            signal.raise_signal(signal.SIGINT)

    def opened(*arguments, **options):
        checkpoint = open_workspace(*arguments, **options)
        if checkpoint is not None:
            read.append(weakref.ref(checkpoint))
        return checkpoint

    monkeypatch.setattr(Past, "after_step", interrupted)
    monkeypatch.setattr("edgekd.distill.run.open_workspace", opened)
    with pytest.raises(InterruptedRun):
        distill(plan, tmp_path / "run")
    again = distill(plan, tmp_path / "run", resume=True)
    assert len(read) == 1
    assert len({id(past) for past in steps}) == 2
    assert again.weights_sha256 == expected.weights_sha256


def test_two_processes_remember_every_sample_they_saw(tmp_path):
    recipe_file, output = tmp_path / "recipe.toml", tmp_path / "run"
    recipe_file.write_text(to_toml(recipe(epochs=2)))
    launcher = ["torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    work = ["-m", "edgekd", "distill", "--recipe", str(recipe_file), "-o", str(output)]
    done = subprocess.run(
        [sys.executable, "-m", *launcher, *work], capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    record, _ = load_student(output)
    state = read_checkpoint(output / "checkpoint.safetensors").parts["method"]
    samples = record.provenance.data.num_samples["train"]
    steps = samples // 128
    assert len(state["known"]) == samples
    assert steps * 128 <= int(state["known"].sum()) <= samples
    sums = state["rows"][state["known"]][:, :10].float().sum(dim=1)
    torch.testing.assert_close(sums, torch.ones_like(sums), atol=5e-3, rtol=0)


def test_norms_are_synchronised_among_processes_once_the_branches_are_there(tmp_path, monkeypatch):
    seen = []

    def watch(module, fabric):
        seen.append(module)
        return module

    monkeypatch.setattr("edgekd.distill.loop.synchronise_norms", watch)
    distill(recipe(epochs=1), tmp_path / "run")
    (network,) = seen
    assert isinstance(network, LayeredNetwork)


def test_an_external_teacher_adds_a_term(whole, tmp_path):
    plan = recipe(teacher=str(whole[0]), epochs=1)
    distill(plan, tmp_path / "run")
    row = json.loads((tmp_path / "run" / "history.jsonl").read_text())
    assert row["kd_loss"] > 0


def test_rotations_of_digits_are_the_users_choice_and_colours_an_error(tmp_path):
    distill(recipe(epochs=1, lsskd={"transformations": ["rotate"]}), tmp_path / "run")
    with pytest.raises(ConfigError, match="these images are grey"):
        distill(recipe(lsskd={"transformations": ["colour"]}), tmp_path / "other")


def test_mixing_samples_is_refused():
    with pytest.raises(ValueError, match="remembers single ones"):
        recipe(augment={"mixup": 0.2})
