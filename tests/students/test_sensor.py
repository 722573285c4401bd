import numpy as np
import pytest
import torch

from edgekd.errors import ModelError
from edgekd.records import ArchSpec, ImageInput, SignalInput
from edgekd.students.build import build_student, parse_student_for
from edgekd.students.count import count_cost
from edgekd.students.sensor import drop_modalities
from edgekd.students.stages import find_chains


def signal(name, channels=9, length=125):
    return SignalInput(
        name=name, channels=channels, length=length, mean=(0.0,) * channels, std=(1.0,) * channels
    )


IMAGE = ImageInput(channels=3, height=16, width=16, mean=(0.0,) * 3, std=(1.0,) * 3)
BODY = (signal("acc"), signal("gyro"), signal("mag"))


def student(inputs=BODY, **options):
    torch.manual_seed(0)
    arch = parse_student_for(None, options, inputs=inputs, num_classes=19)
    return arch, build_student(arch)


def feed(inputs, size=4):
    return [torch.randn(size, *spec.shape) for spec in inputs]


def test_the_default_is_small_and_rebuilt_from_its_arch():
    arch, module = student()
    cost = count_cost(module, [spec.shape for spec in BODY])
    assert cost.num_params < 100_000
    assert cost.uncounted_operators == ()
    again = build_student(ArchSpec.model_validate_json(arch.model_dump_json()))
    again.load_state_dict(module.state_dict())
    x = feed(BODY)
    assert torch.equal(module.eval()(*x), again.eval()(*x))


def test_the_parameters_of_a_convolutional_encoder_by_hand():
    _, module = student((signal("acc"),), width=4)
    stem = 9 * 4 * 5 + 2 * 4
    stages = [
        2 * 4 * 4 * 5 + 4 * 4,
        (4 * 8 + 8 * 8) * 5 + 4 * 8 + 4 * 8 + 2 * 8,
        (8 * 16 + 16 * 16) * 5 + 4 * 16 + 8 * 16 + 2 * 16,
    ]
    encoder = module.encoders["acc_encoder"]
    assert sum(p.numel() for p in encoder.parameters()) == stem + sum(stages)


@pytest.mark.parametrize("fusion", ["late", "cross-attention"])
@pytest.mark.parametrize("encoder", ["conv", "transformer"])
def test_rates_and_lengths_differ_and_a_vector_and_an_image_join(encoder, fusion):
    inputs = (IMAGE, signal("acc", 3, 50), signal("env", 4, 1), signal("vib", 1, 333))
    _, module = student(
        inputs, encoder=encoder, fusion=fusion, image_encoder="resnet8", image_width=4
    )
    logits = module(*feed(inputs))
    assert logits.shape == (4, 19)
    logits.sum().backward()
    assert all(p.grad is not None for p in module.parameters())


def test_every_encoder_is_a_chain_of_stages():
    _, module = student((IMAGE, signal("acc")), image_width=4)
    chains = find_chains(module, feed((IMAGE, signal("acc")), size=1))
    assert [chain.name for chain in chains] == ["image_encoder", "acc_encoder"]
    assert [len(chain.stages) for chain in chains] == [3, 3]


def test_dropping_zeroes_whole_modalities_and_never_all():
    torch.manual_seed(0)
    ones = [torch.ones(4000, 2, 3), torch.ones(4000, 1, 4, 4)]
    first, second = (x.flatten(1) for x in drop_modalities(ones, 0.5))
    assert set(np.unique(first.sum(dim=1))) == {0.0, 6.0}
    kept = torch.stack([first[:, 0], second[:, 0]], dim=1)
    assert kept.any(dim=1).all()
    # each stays with 1/2, or because both had gone: 1/2 + 1/4
    assert kept.mean(dim=0).tolist() == pytest.approx([0.75, 0.75], abs=0.03)


def test_nothing_is_dropped_in_eval_mode():
    _, module = student(modality_dropout=0.9)
    _, twin = student(modality_dropout=0)
    x = feed(BODY)
    assert torch.equal(module.eval()(*x), twin.eval()(*x))


def test_a_missing_modality_changes_the_answer_and_breaks_nothing():
    _, module = student()
    module.eval()
    acc, gyro, mag = feed(BODY)
    whole, without = module(acc, gyro, mag), module(acc, torch.zeros_like(gyro), mag)
    assert torch.isfinite(without).all()
    assert not torch.equal(whole, without)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"heads": 2}, "no option 'heads'"),
        ({"width": 0}, "argument width"),
        ({"fusion": "early"}, "argument fusion"),
        ({"modality_dropout": 1.0}, "argument modality_dropout"),
        ({"image_encoder": "resnet14"}, "there is no image for 'image_encoder'"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ModelError, match=message):
        student(BODY, **options)


def test_a_student_of_images_is_refused_for_sensors_and_none_for_images():
    with pytest.raises(ModelError, match="takes one image, the data have acc, gyro, mag"):
        parse_student_for("resnet8", {}, inputs=BODY, num_classes=2)
    with pytest.raises(ModelError, match="no student named"):
        parse_student_for(None, {}, inputs=(IMAGE,), num_classes=2)


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        ("image", [8, 8], r"image of shape \[8, 8\]; expected 3 numbers"),
        ("image", [0, 8, 8], "greater than or equal to 1"),
        ("image", [3, 0, 8], "greater than or equal to 1"),
        ("image", [4097, 8, 8], "at most 4096 channels"),
        ("signal", [3, 4, 5], "signal of shape .*; expected 2 numbers"),
        ("signal", [3], "expected 2 numbers"),
        ("signal", [3, -4], "greater than or equal to 1"),
        ("signal", [3, 10**12], "less than or equal to"),
        ("signal", [3.0, 4], "valid integer"),
    ],
)
def test_an_input_of_a_strange_bundle_is_refused(kind, shape, message):
    arch = ArchSpec(
        family="sensor",
        arguments={"inputs": [{"name": "x", "kind": kind, "shape": shape}]},
        num_classes=2,
        in_channels=3,
    )
    with pytest.raises(ModelError, match=message):
        build_student(arch)


def test_more_channels_than_fit_are_a_users_fault():
    with pytest.raises(ModelError, match="5,000 channels together"):
        student((signal("a", 2500, 4), signal("b", 2500, 4)))
