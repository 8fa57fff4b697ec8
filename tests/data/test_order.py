import numpy as np
import pytest

from tdml.data.order import assigned_batches, steps_per_round

SHARE = np.arange(100, 111)  # 11 samples: five batches of two an epoch, and one sample is left over


def assigned(round_number, steps, share=SHARE, batch_size=2, seed=7, replica=0):
    return assigned_batches(share, batch_size, steps, seed, round_number, replica)


@pytest.mark.parametrize(("local_steps", "steps"), [(None, 5), (1, 1), (12, 12)])
def test_a_round_is_an_epoch_of_whole_batches_unless_set(local_steps, steps):
    assert steps_per_round(11, 2, local_steps) == steps


@pytest.mark.parametrize("steps", [1, 2, 3, 5, 7])
def test_rounds_walk_through_one_stream(steps):
    stream = assigned(1, steps=35).ravel().tolist()
    rounds = 35 // steps
    walked = np.concatenate([assigned(number, steps).ravel() for number in range(1, rounds + 1)])
    assert walked.tolist() == stream[: 2 * steps * rounds]


def test_no_sample_comes_twice_in_an_epoch():
    epochs = assigned(1, steps=20).reshape(4, 10)
    for epoch in epochs:
        assert len(set(epoch.tolist())) == 10
        assert set(epoch.tolist()) <= set(SHARE.tolist())


def test_every_epoch_has_an_order_of_its_own():
    assert len({tuple(epoch) for epoch in assigned(1, steps=20).reshape(4, 10).tolist()}) == 4


def test_the_sample_that_is_left_over_changes():
    left_over = {
        (set(SHARE.tolist()) - set(epoch)).pop()
        for epoch in assigned(1, steps=50).reshape(10, 10).tolist()
    }
    assert len(left_over) > 1


@pytest.mark.parametrize("other", [{"seed": 8}, {"replica": 1}])
def test_seed_and_replica_decide_the_order(other):
    assert assigned(3, 5).tolist() == assigned(3, 5).tolist()
    assert assigned(3, 5).tolist() != assigned(3, 5, **other).tolist()


def test_the_order_does_not_depend_on_the_global_generator():
    np.random.seed(1)
    first = assigned(2, 5).tolist()
    np.random.seed(2)
    assert assigned(2, 5).tolist() == first


def test_shape_and_type():
    batches = assigned(1, steps=3, batch_size=4)
    assert (batches.shape, batches.dtype) == ((3, 4), np.int64)


def test_a_share_of_one_batch():
    assert sorted(assigned(4, steps=1, share=np.array([3, 5]))[0].tolist()) == [3, 5]
