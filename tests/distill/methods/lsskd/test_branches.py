import pytest
import torch
from torch import nn

from edgekd.distill.methods.lsskd.branches import Branch, LayeredNetwork
from edgekd.errors import ModelError
from edgekd.records import SignalInput
from edgekd.students.build import build_student, parse_student, parse_student_for

IMAGE = torch.zeros(1, 3, 32, 32)


def student(name="resnet14", **options):
    torch.manual_seed(0)
    return build_student(
        parse_student(name, options, num_classes=5, in_channels=3, input_size=(32, 32))
    )


def layered(module, image=IMAGE, **changes):
    plan = {"num_classes": 5, "num_transformations": 4, "kind": "copy"} | changes
    return LayeredNetwork(module, [image], **plan)


def test_a_branch_after_stage_l_is_a_copy_of_the_stages_behind():
    network = layered(student(width=4))

    def count(part):
        return sum(p.numel() for p in part.parameters())

    stages = network.student.stages
    first, second, third = (branch.body for branch in network.branches)
    assert count(first) == count(stages[1]) + count(stages[2])
    assert count(second) == count(stages[2])
    assert count(third) == count(stages[2][1])  # the block that keeps its shape
    assert first[0] is not stages[1]


def test_everything_in_training_and_the_student_alone_in_eval_mode():
    network = layered(student(width=4))
    x = torch.randn(6, 3, 32, 32)
    output = network.train()(x)
    assert output.logits.shape == (6, 5)
    assert [joint.shape for joint in output.joint] == [(6, 20)] * 3
    assert [f.shape for f in output.features] == [g.shape for g in output.finals] == [(6, 16)] * 3
    network.eval()
    plain = student(width=4)
    plain.load_state_dict(network.student.state_dict())
    assert torch.equal(network(x), plain.eval()(x))


def test_a_final_feature_is_the_pooled_last_stage():
    network = layered(student(width=4)).eval()
    x = torch.randn(2, 3, 32, 32)
    expected = network.student.forward_stages(x)[-1].mean(dim=(2, 3))
    for final in network.answer_all(x).finals:
        torch.testing.assert_close(final, expected)


def test_light_branches_are_one_small_convolution():
    network = layered(student(width=4), kind="light")
    assert [type(branch.body) for branch in network.branches] == [nn.Conv2d] * 3
    assert [branch.body.weight.shape for branch in network.branches] == [
        (16, 4, 1, 1), (16, 8, 1, 1), (16, 16, 1, 1)
    ]  # fmt: skip
    network.train()(torch.randn(2, 3, 32, 32))


def test_only_the_last_stages_where_so_many_are_asked_for():
    assert len(layered(student(width=4), num_branches=2).branches) == 2


def test_more_branches_than_stages_are_refused():
    with pytest.raises(ModelError, match=r"num_branches = 99: the student has 3 stages"):
        layered(student(width=4), num_branches=99)


def test_the_state_holds_student_and_branches_and_nothing_twice():
    network = layered(student(width=4))
    names = set(network.state_dict())
    assert {name.partition(".")[0] for name in names} == {"student", "branches"}
    assert len([n for n in names if n.startswith("student.")]) == len(network.student.state_dict())


@pytest.mark.parametrize("kind", ["copy", "light"])
@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("timm:mobilenetv3_small_050", {}),
        ("timm:mobilevit_xxs", {}),
        ("timm:resnet10t", {}),
        ("timm:vit_tiny_patch16_224", {"img_size": [32, 32], "depth": 2, "embed_dim": 12}),
    ],
)
def test_timm_networks_get_branches(name, options, kind):
    network = layered(student(name, **options), kind=kind, num_branches=2).train()
    output = network(torch.randn(2, 3, 32, 32))
    assert [joint.shape for joint in output.joint] == [(2, 20)] * 2
    sum(joint.sum() for joint in output.joint).backward()
    assert all(p.grad is not None for p in network.branches.parameters())


def test_a_branch_reads_maps_tokens_and_vectors_alike():
    torch.manual_seed(0)
    branch = Branch(nn.Identity(), 3, 8).eval()
    answer = torch.randn(2, 3, 4, 5)
    features, joint = branch(answer)
    normed = torch.relu(answer / (1 + branch.norm.eps) ** 0.5)  # a fresh BN in eval mode
    torch.testing.assert_close(features, answer.mean(dim=(2, 3)))
    torch.testing.assert_close(joint, branch.classifier(normed.mean(dim=(2, 3))))
    torch.testing.assert_close(branch(answer.flatten(2).transpose(1, 2)), (features, joint))
    vector = answer[:, :, 0, 0]
    torch.testing.assert_close(branch(vector), branch(vector[:, :, None, None]))


SENSORS = [
    SignalInput(name=name, channels=2, length=32, mean=(0.0,) * 2, std=(1.0,) * 2)
    for name in ("acc", "gyro")
]


def sensors():
    """Two encoders of stages, and fusion."""
    torch.manual_seed(0)
    options = {"width": 4, "modality_dropout": 0.5}
    arch = parse_student_for("sensor", options, inputs=SENSORS, num_classes=3)
    inputs = [torch.zeros(1, 2, 32)] * 2
    return LayeredNetwork(
        build_student(arch), inputs, num_classes=3, num_transformations=2, kind="copy"
    )


def test_branches_know_which_rows_their_sensor_was_missing_in():
    network = sensors().eval()
    acc, gyro = torch.randn(3, 2, 32), torch.randn(3, 2, 32)
    acc[1], gyro[2] = 0, 0
    of_acc, of_gyro = [True, False, True], [True, True, False]
    found = [None if p is None else p.tolist() for p in network.answer_all(acc, gyro).present]
    per_encoder = (len(network.branches) - 1) // 2
    assert found == [of_acc] * per_encoder + [of_gyro] * per_encoder + [None]


def test_what_modality_dropout_takes_is_missing():
    network = sensors().train()
    present = network(torch.randn(400, 2, 32), torch.randn(400, 2, 32)).present
    dropped = [float((~rows).float().mean()) for rows in (present[0], present[-2])]
    assert dropped == pytest.approx([0.25, 0.25], abs=0.1)  # 0.5, less those that lost both
    assert bool((present[0] | present[-2]).all())


def test_a_sensor_that_is_missing_everywhere_counts_everywhere():
    """A mean over nothing would be NaN."""
    output = sensors().eval().answer_all(torch.zeros(2, 2, 32), torch.randn(2, 2, 32))
    assert output.present[0] is None
