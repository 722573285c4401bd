import torch

from edgekd.distill.methods.cdd.channels import Channels


def test_at_first_all_are_there_and_defended():
    channels = Channels.all_of(3)
    assert channels.numbers.tolist() == [0, 1, 2]
    assert channels.mask.all() and not channels.dead.any()
    assert (channels.full, channels.num_removed) == (3, 0)


def test_what_is_kept_remembers_its_number():
    channels = Channels.all_of(5)
    channels.score = torch.arange(5.0)
    channels.mask[3] = False
    channels.keep(torch.tensor([1, 3, 4]))
    channels.keep(torch.tensor([1, 2]))  # positions among those that are left: 3 and 4
    assert channels.numbers.tolist() == [3, 4]
    assert channels.score.tolist() == [3.0, 4.0]
    assert channels.mask.tolist() == [False, True]
    assert (channels.full, channels.num_removed) == (5, 3)


def test_its_state_brings_it_back():
    channels = Channels.all_of(4)
    channels.keep(torch.tensor([0, 2]))
    channels.dead[1] = True
    again = Channels.of(channels.state())
    assert again.full == 4
    for name, tensor in channels.state().items():
        assert torch.equal(again.state()[name], tensor), name


def test_what_only_swings_is_dead_but_never_all_of_a_site():
    channels = Channels.all_of(3)
    channels.mask[1:] = False
    lengths = torch.tensor([0.05, 0.02, 0.5])
    assert channels.bury(lengths, 0.1).tolist() == [False, False, False]
    assert channels.dead.tolist() == [False, True, False]
    channels.mask[0] = False
    assert channels.bury(torch.tensor([0.05, 0.0, 0.06]), 0.1).tolist() == [False, False, True]
    assert channels.dead.tolist() == [True, True, False]
