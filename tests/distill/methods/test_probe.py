import torch
from torch import nn

from edgekd.distill.methods.probe import plain_answer, zero_inputs
from edgekd.distill.methods.protocol import Run
from edgekd.records import ImageInput, SignalInput

IMAGE = ImageInput(channels=3, height=4, width=6, mean=(0.0,) * 3, std=(1.0,) * 3)
SIGNAL = SignalInput(name="acc", channels=2, length=5, mean=(0.0,) * 2, std=(1.0,) * 2)


def normed():
    """A network whose answer and statistics would tell a look in training mode."""
    return nn.Sequential(nn.BatchNorm1d(2), nn.Dropout(0.5)).train()


def test_one_zero_sample_per_input_in_the_networks_number_type():
    run = Run(input_shape=(3, 4, 6), steps_per_epoch=1, inputs=(IMAGE, SIGNAL))
    image, signal = zero_inputs(nn.Linear(1, 1).double(), run)
    assert (image.shape, signal.shape) == ((1, 3, 4, 6), (1, 2, 5))
    assert (image.dtype, image.any(), signal.any()) == (torch.float64, False, False)


def test_a_look_answers_as_deployed_and_moves_no_statistics():
    network, x = normed(), torch.tensor([[3.0, -1.0], [5.0, 1.0]])
    answer = plain_answer(network, [x])
    # fresh statistics are mean 0 and variance 1: only epsilon changes the numbers
    torch.testing.assert_close(answer, x / (1 + 1e-5) ** 0.5)
    assert not answer.requires_grad
    assert network[0].num_batches_tracked == 0
    assert network[0].running_mean.tolist() == [0.0, 0.0]
    assert all(part.training for part in network.modules())
