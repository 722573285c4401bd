import tracemalloc
from contextlib import contextmanager
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.data.roles import ROLES, Roles
from edgekd.evaluate.retrieval import _similarity_rows, nearest_others, retrieval_scores


def on_circle(*degrees):
    """Unit vectors; the cosine of two falls with the angle between them."""
    angles = np.radians(degrees)
    return np.stack([np.cos(angles), np.sin(angles)], axis=1)


def slow_scores(embeddings, identities, cameras=None, roles=None):
    """The definition, query by query and place by place: no blocks, no sorting tricks."""
    unit = [row / np.linalg.norm(row) for row in embeddings.astype(np.float64)]
    precisions, firsts = [], []
    for q in range(len(unit)):
        if roles is not None and not roles.is_query[q]:
            continue
        gallery = [
            g
            for g in range(len(unit))
            if g != q
            and (roles is None or roles.is_gallery[g])
            and not (
                cameras is not None and identities[g] == identities[q] and cameras[g] == cameras[q]
            )
        ]
        gallery.sort(key=lambda g: -float(unit[q] @ unit[g]))
        right = [identities[g] == identities[q] for g in gallery]
        if not any(right):
            continue
        places = [place for place, hit in enumerate(right, start=1) if hit]
        precisions.append(sum(n / place for n, place in enumerate(places, start=1)) / len(places))
        firsts.append(places[0])
    recall = {k: sum(first <= k for first in firsts) / len(firsts) for k in (1, 5, 10)}
    return sum(precisions) / len(precisions), recall, len(precisions)


def test_a_ranking_by_hand():
    # The others of the sample at 0 degrees, from near to far: 10 right, 20 wrong, 30 right,
    # 40 wrong. AP = (1/1 + 2/3) / 2 = 5/6.
    # at 10: 0 and 20 are equally far, wrong first: places 2 and 3 or 4 of (20, 0, 30, 40):
    #   20 wrong (10 away), 0 right (10), 30 right (20), 40 wrong: (1/2 + 2/3) / 2 = 7/12.
    # at 30: 20 and 40 wrong (10), 10 right (20), 0 right (30): (1/3 + 2/4) / 2 = 5/12.
    # at 20: its only right one is 40 (20 away): 10 and 30 wrong (10), then 0 wrong and 40 right,
    #   both 20 away, wrong first: 1/4.
    # at 40: 30 wrong (10), 20 right (20): 1/2.
    embeddings = on_circle(0, 10, 20, 30, 40)
    scores = retrieval_scores(embeddings.round(12), np.array([0, 0, 1, 0, 1]))
    assert scores.num_queries == 5
    assert scores.recall_at == {1: 0.2, 5: 1.0, 10: 1.0}
    assert scores.mean_ap == pytest.approx((5 / 6 + 7 / 12 + 5 / 12 + 1 / 4 + 1 / 2) / 5)


def test_the_same_camera_is_left_out_of_the_list():
    # For the sample at 0: the one at 10 is its own camera's and no answer at all, neither right
    # nor wrong; wrong at 20; right at 30: AP 1/2. At 10 alike: wrong at 20 first, 1/2.
    # At 30: 20 wrong first, then 10 and 0 right: (1/2 + 2/3) / 2 = 7/12. At 20: nothing to find.
    embeddings, identities = on_circle(0, 10, 20, 30), np.array([0, 0, 1, 0])
    scores = retrieval_scores(embeddings, identities, np.array([0, 0, 0, 1]))
    assert (scores.num_queries, scores.num_skipped) == (3, 1)
    assert scores.mean_ap == pytest.approx((1 / 2 + 1 / 2 + 7 / 12) / 3)
    assert scores.recall_at[1] == 0.0


def test_a_camera_of_another_identity_takes_nothing_away():
    embeddings, identities = on_circle(0, 10, 20), np.array([0, 1, 0])
    scores = retrieval_scores(embeddings, identities, np.array([0, 1, 2]))
    assert scores.mean_ap == 0.5  # the wrong one in the middle is first for both


def test_queries_ask_and_only_the_gallery_is_searched():
    # At 0 and 5 are queries, at 10 and 20 the gallery. 0 finds 10 first, the wrong one at 5 is in
    # no list: AP 1. For 5 the wrong one at 10 comes before the right one at 20: AP 1/2.
    embeddings, identities = on_circle(0, 5, 10, 20), np.array([0, 1, 0, 1])
    roles = Roles.of(["query", "query", "gallery", "gallery"])
    scores = retrieval_scores(embeddings, identities, None, roles)
    assert (scores.num_queries, scores.num_skipped) == (2, 0)
    assert scores.mean_ap == pytest.approx((1 + 1 / 2) / 2)
    assert scores.recall_at[1] == 0.5
    alone = retrieval_scores(embeddings, identities, np.array([0, 0, 0, 1]), roles)
    assert (alone.num_queries, alone.num_skipped) == (1, 1)  # 0 and 10 are of one camera
    assert alone.mean_ap == 1 / 2


def test_a_sample_that_asks_and_is_found_finds_not_itself():
    embeddings, identities = on_circle(0, 10, 20), np.array([0, 1, 0])
    roles = Roles.of(["both", "gallery", "both"])
    scores = retrieval_scores(embeddings, identities, None, roles)
    assert (scores.num_queries, scores.mean_ap) == (2, 0.5)


def test_perfect_and_worst():
    identities = np.repeat(np.arange(4), 5)
    perfect = retrieval_scores(np.eye(4)[identities], identities)
    assert (perfect.mean_ap, perfect.recall_at[1]) == (1.0, 1.0)
    # All the same: every query has 15 wrong answers before its 4 right ones.
    worst = retrieval_scores(np.ones((20, 3)), identities)
    assert worst.mean_ap == pytest.approx(np.mean([n / (15 + n) for n in (1, 2, 3, 4)]))
    assert worst.recall_at == {1: 0.0, 5: 0.0, 10: 0.0}


def test_only_directions_count():
    rng = np.random.default_rng(0)
    embeddings, identities = rng.normal(size=(30, 8)), rng.integers(0, 5, 30)
    longer = embeddings * rng.uniform(0.1, 10, (30, 1))
    assert retrieval_scores(longer, identities) == retrieval_scores(embeddings, identities)


@given(
    seed=st.integers(0, 2**16),
    count=st.integers(4, 60),
    with_cameras=st.booleans(),
    with_roles=st.booleans(),
    block=st.sampled_from([1, 1000, 1 << 20]),
)
def test_blocks_agree_with_the_definition(seed, count, with_cameras, with_roles, block):
    rng = np.random.default_rng(seed)
    embeddings = rng.normal(size=(count, 6)).astype(np.float32)
    identities = rng.integers(0, max(2, count // 4), count)
    identities[:2] = 0
    cameras = rng.integers(0, 3, count) if with_cameras else None
    if cameras is not None:
        cameras[:2] = 0, 1
    words = rng.choice(list(ROLES), count)
    words[:2] = "query", "gallery"
    roles = Roles.of(words.tolist()) if with_roles else None
    mean_ap, recall, queries = slow_scores(embeddings, identities, cameras, roles)
    scores = retrieval_scores(embeddings, identities, cameras, roles, block_bytes=block)
    assert scores.mean_ap == pytest.approx(mean_ap)
    assert scores.recall_at == pytest.approx(recall)
    asking = count if roles is None else int(roles.is_query.sum())
    assert (scores.num_queries, scores.num_skipped) == (queries, asking - queries)


def test_scikit_learn_agrees_where_there_are_no_ties():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(1)
    embeddings, identities = rng.normal(size=(50, 5)), np.arange(50) % 9
    unit = embeddings / np.linalg.norm(embeddings, axis=1, keepdims=True)
    expected = []
    for q in range(50):
        others = np.arange(50) != q
        same = identities[others] == identities[q]
        expected.append(metrics.average_precision_score(same, unit[others] @ unit[q]))
    assert retrieval_scores(embeddings, identities).mean_ap == pytest.approx(np.mean(expected))


@given(seed=st.integers(0, 2**16))
def test_the_order_of_the_samples_does_not_matter(seed):
    rng = np.random.default_rng(seed)
    embeddings = rng.integers(-2, 3, (24, 2)) * 1.0  # many ties, also rows of zeros
    identities = np.arange(24) % 5
    order = rng.permutation(24)
    scores = retrieval_scores(embeddings, identities)
    assert retrieval_scores(embeddings[order], identities[order]).mean_ap == pytest.approx(
        scores.mean_ap
    )


def test_what_cannot_be_scored_is_an_error():
    points, ones = np.eye(3), np.array([0, 0, 1])
    with pytest.raises(ValueError, match="NaN or infinity"):
        retrieval_scores(np.full((3, 2), np.nan), ones)
    with pytest.raises(ValueError, match="no sample has another one"):
        retrieval_scores(points, np.array([0, 1, 2]))
    with pytest.raises(ValueError, match="no sample has another one"):
        retrieval_scores(points, ones, np.array([4, 4, 4]))
    for bad in (
        (points[0], ones, None),
        (points, ones[:2], None),
        (points, ones, np.array([0])),
        (np.zeros((0, 2)), np.zeros(0, int), None),
    ):
        with pytest.raises(ValueError, match=r"expected \(N, D\)"):
            retrieval_scores(*bad)
    with pytest.raises(ValueError, match=r"expected \(N, D\)"):
        retrieval_scores(points, ones, None, Roles.of(["both", "query"]))
    with pytest.raises(ValueError, match="no sample has another one"):
        retrieval_scores(points, ones, None, Roles.of(["gallery"] * 3))


def test_the_nearest_other_sample():
    found = nearest_others(on_circle(0, 10, 25, 180), block_bytes=1)
    assert found.tolist() == [1, 0, 1, 2]
    assert nearest_others(np.ones((3, 2))).tolist() == [1, 0, 0]  # of equals the first
    with pytest.raises(ValueError, match="at least two"):
        nearest_others(np.ones((1, 2)))


@contextmanager
def peak_bytes():
    """The most that was allocated inside, as the last item of the list."""
    found = []
    tracemalloc.start()
    try:
        yield found
    finally:
        found.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()


def test_a_hundred_thousand_are_searched_in_blocks():
    # 32 MiB / (4 bytes * 100,000) = 83 queries at a time; all at once would be 40 GB.
    embeddings = np.ones((100_000, 2), np.float32)
    with peak_bytes() as peak:
        rows = [(query, len(row)) for query, row in islice(_similarity_rows(embeddings, 2**25), 84)]
    assert rows == [(query, 100_000) for query in range(84)]  # the last is in the second block
    assert peak[-1] < 2**25 + 8e6


def test_memory_grows_with_the_gallery_and_not_with_its_square():
    peaks = []
    for count in (1000, 4000):
        embeddings = np.random.default_rng(0).normal(size=(count, 8)).astype(np.float32)
        with peak_bytes() as peak:
            retrieval_scores(embeddings, np.arange(count) % 50, block_bytes=2**16)
        peaks.append(peak[-1])
    assert peaks[1] < 5 * peaks[0]  # all similarities at once would be 16 times
    assert peaks[1] < 2**16 + 4000 * 200  # and 64 MB


def test_lengths_beyond_what_squares_hold_count_like_others():
    rng = np.random.default_rng(0)
    embeddings, identities = rng.normal(size=(20, 4)), np.arange(20) % 4
    expected = retrieval_scores(embeddings, identities)
    for factor in (1e300, 1e-300):
        assert retrieval_scores(factor * embeddings, identities) == expected


def test_ties_put_the_wrong_answer_first_however_many_there_are():
    # Everything answers alike: the one right answer of a query is level with 78 wrong ones and
    # stands behind them, at place 79.
    identities = np.repeat(np.arange(40), 2)
    embeddings = np.tile(np.random.default_rng(0).normal(size=(1, 96)), (80, 1))
    scores = retrieval_scores(embeddings.astype(np.float32), identities)
    assert scores.mean_ap == pytest.approx(1 / 79)
    assert scores.recall_at[10] == 0.0


def test_a_network_that_answers_the_same_to_everything_is_at_the_bottom_in_any_order_and_block():
    """1,000 equal embeddings of 100 identities: 9 right answers stand behind 990 wrong ones."""
    identities = np.repeat(np.arange(100), 10)
    embeddings = np.tile(np.random.default_rng(0).normal(size=(1, 37)), (1000, 1))
    worst = sum((place + 1) / (990 + place + 1) for place in range(9)) / 9
    for order in (identities, identities[::-1].copy(), np.roll(identities, 5)):
        for block_bytes in (1 << 14, 1 << 25):
            scores = retrieval_scores(embeddings, order, block_bytes=block_bytes)
            assert scores.mean_ap == pytest.approx(worst, rel=1e-12)
            assert scores.recall_at[10] == 0
