import onnx
import pytest
import torch

from edgekd.bundle import WEIGHTS_FILE, read_bundle, write_bundle
from edgekd.config import ExportRecipe
from edgekd.console import SilentConsole
from edgekd.errors import BundleError
from edgekd.export.learned_points import learned_points
from edgekd.export.quantization.recipe import read_int8_recipe
from edgekd.export.run import export
from edgekd.export.samples import gather_samples
from edgekd.students.build import load_student
from edgekd.students.quantized import FakeQuantized

RECIPE = ExportRecipe(
    data="builtin:digits", int8="full", num_calibration=32, num_parity=20, min_agreement=0.0,
    max_drop_points=100.0, min_sqnr_db=-100.0, reference_kernels=False,
)  # fmt: skip


@pytest.fixture(scope="module")
def trained(student, tmp_path_factory):
    """The tiny student as ``distill --qat`` leaves it, and ranges that no calibration finds."""
    folder = tmp_path_factory.mktemp("qat")
    record, module = load_student(student.folder)
    network = FakeQuantized(module, [torch.zeros(2, 1, 8, 8)])
    # wide: what a range cuts off is warned of; and each another, by more than a step of 8 bits
    ranges = {name: (-40.0 - 2 * n, 60.0 + 4 * n) for n, name in enumerate(network.points)}
    weights = (student.folder / WEIGHTS_FILE).read_bytes()
    write_bundle(folder, record.model_copy(update={"learned_ranges": ranges}), weights)
    return folder, ranges


def test_a_bundle_carries_them(trained):
    folder, ranges = trained
    assert read_bundle(folder).learned_ranges == ranges


def test_they_are_paired_with_what_the_network_holds(trained, student):
    folder, ranges = trained
    record, module = load_student(folder)
    samples = gather_samples(record, module, RECIPE, SilentConsole())
    points = learned_points(module, ranges, samples.calibration)
    assert [point.learned for point in points] == list(ranges.values())
    pixels = (samples.calibration.decoded[0] / 255 - 0.305) / 0.376  # the input is read first
    assert points[0].seen == pytest.approx((pixels.min(), pixels.max()), abs=1e-5)
    with torch.no_grad():
        logits = module(torch.from_numpy(pixels.transpose(0, 3, 1, 2)).float())
    assert points[-1].seen == pytest.approx((float(logits.min()), float(logits.max())), rel=1e-4)
    assert learned_points(module, {}, samples.calibration) == ()
    assert learned_points(module, ranges, None) == ()
    with pytest.raises(BundleError, match="learned ranges of 1 activations"):
        learned_points(module, {"0: conv9d": (0.0, 1.0)}, samples.calibration)


def test_the_scales_of_an_exported_file_are_those_of_the_learned_ranges(trained, tmp_path):
    folder, ranges = trained
    models = export(folder, tmp_path, RECIPE)
    for model in models[1::2]:
        note = next(note for note in model.notes if "that was learned" in note)
        assert int(note.split()[0]) > len(ranges) / 2  # but for points that hold the same values
        assert model.adjustments == ()
        found = read_int8_recipe(tmp_path / f"{model.file}.recipe.json").ranges
        first, *_ = ranges.values()
        assert first in [tuple(limits) for limits in found.values()]
    file = onnx.load(tmp_path / "student.int8.onnx")
    stored = {i.name: onnx.numpy_helper.to_array(i) for i in file.graph.initializer}
    readers = [n for n in file.graph.node if n.op_type == "QuantizeLinear"]
    scales = [float(stored[node.input[1]]) for node in readers]
    low, high = next(iter(ranges.values()))
    assert any(scale == pytest.approx((high - low) / 255, rel=1e-6) for scale in scales)
