import torch
from torch import nn

from edgekd.students.build import build_student, parse_student
from edgekd.students.head import IdentityNetwork
from edgekd.students.taps import pooled_outputs, stage_layers


def network(name="resnet8", size=8, embedding_dim=None, **options):
    arch = parse_student(
        name,
        options,
        num_classes=3,
        in_channels=3,
        input_size=(size, size),
        embedding_dim=embedding_dim,
    )
    return build_student(arch)


def test_maps_tokens_and_vectors_become_vectors():
    parts = [nn.Identity(), nn.Identity(), nn.Identity()]
    maps = torch.arange(24.0).reshape(1, 2, 3, 4)  # means of 0..11 and 12..23
    with pooled_outputs(parts) as pooled:
        parts[1](maps)
        parts[0](maps.flatten(2).transpose(1, 2))
        parts[2](torch.tensor([[7.0, 8.0]]))
    assert [vector.tolist() for vector in pooled] == [[[5.5, 17.5]], [[5.5, 17.5]], [[7.0, 8.0]]]


def test_nothing_is_read_outside_the_block():
    part = nn.Identity()
    with pooled_outputs([part]) as pooled:
        pass
    part(torch.zeros(1, 1, 1, 1))
    assert pooled == []


def test_the_mean_is_taken_before_the_next_layer_works_in_place():
    norm = nn.Identity()
    chain = nn.Sequential(norm, nn.ReLU(inplace=True))
    with pooled_outputs([norm]) as pooled:
        chain(torch.full((1, 1, 2, 2), -3.0))
    assert pooled[0].item() == -3.0


def test_gradients_flow_through_what_was_read():
    part = nn.Conv2d(1, 1, 1, bias=False)
    with pooled_outputs([part]) as pooled:
        part(torch.full((1, 1, 2, 2), 2.0))
    pooled[0].sum().backward()
    assert part.weight.grad.item() == 2.0


def test_stages_of_a_resnet_of_ours():
    student = network(width=4)
    assert stage_layers(student) == tuple(student.stages)


def test_stages_of_an_embedding_network_are_those_of_its_backbone():
    student = network(width=4, embedding_dim=6)
    assert stage_layers(IdentityNetwork(student, 3)) == tuple(student.backbone.stages)


def test_stages_of_a_timm_network_are_the_listed_ones():
    student = network("timm:resnet10t", size=32)
    layers = stage_layers(student)
    assert layers[1:] == (student.layer1, student.layer2, student.layer3, student.layer4)
    with pooled_outputs(layers) as pooled:
        student(torch.zeros(2, 3, 32, 32))
    widths = [info["num_chs"] for info in student.feature_info]
    assert [tuple(vector.shape) for vector in pooled] == [(2, width) for width in widths]


def test_a_network_without_stages_has_none():
    assert stage_layers(nn.Linear(2, 2)) == ()
