import pytest
import torch

from edgekd.distill.methods.cdd.queue import FeatureQueue


def vectors(*values):
    return [torch.tensor([[float(v), 0.0] for v in values])]


def test_the_oldest_samples_make_room():
    queue = FeatureQueue(3)
    queue.add(vectors(1, 1), torch.tensor([10, 11]))
    queue.add(vectors(-1, -1), torch.tensor([12, 13]))
    assert sorted(queue.labels.tolist()) == [11, 12, 13]
    assert queue.vectors(0).shape == (3, 2)
    by_label = dict(zip(queue.labels.tolist(), queue.vectors(0)[:, 0].tolist(), strict=True))
    assert by_label == {11: 1, 12: -1, 13: -1}


def test_vectors_have_unit_length_in_half_precision():
    queue = FeatureQueue(4)
    queue.add([torch.tensor([[3.0, 4.0]])], torch.tensor([0]))
    assert queue.vectors(0).dtype == torch.float16
    torch.testing.assert_close(
        queue.vectors(0).float(), torch.tensor([[0.6, 0.8]]), atol=1e-3, rtol=0
    )
    assert len(queue.labels) == 1


def test_a_batch_larger_than_the_queue_is_refused():
    with pytest.raises(ValueError, match="does not fit a queue of 1"):
        FeatureQueue(1).add(vectors(1, 2), torch.tensor([0, 1]))


def test_a_restored_queue_goes_on_like_the_old_one():
    old, new = FeatureQueue(3), FeatureQueue(3)
    old.add(vectors(1, 2), torch.tensor([1, 2]))
    new.load_state(old.state())
    for queue in (old, new):
        queue.add(vectors(3, 4), torch.tensor([3, 4]))
    assert torch.equal(old.labels, new.labels)
    assert torch.equal(old.vectors(0), new.vectors(0))


def test_an_empty_queue_can_be_saved():
    queue = FeatureQueue(3)
    queue.load_state(FeatureQueue(3).state())
    queue.add(vectors(1), torch.tensor([1]))
    assert queue.labels.tolist() == [1]
