import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekd.data.roles import ROLES, Roles, find_something


def test_words_say_who_asks_and_who_is_found():
    roles = Roles.of(["query", "gallery", "both"])
    assert roles.is_query.tolist() == [True, False, True]
    assert roles.is_gallery.tolist() == [False, True, True]
    assert roles.words() == ["query", "gallery", "both"]


@pytest.mark.parametrize("rows", [np.array([2, 0]), np.array([True, False, True])])
def test_some_samples_keep_their_roles(rows):
    roles = Roles.of(["query", "gallery", "both"]).at(rows)
    assert sorted(roles.words()) == ["both", "query"]


def test_no_sample_has_no_role():
    assert Roles.of([]).words() == []


def test_what_a_query_could_find_by_hand():
    labels = np.array([0, 0, 1, 1, 2, 2])
    roles = Roles.of(["query", "gallery", "both", "query", "gallery", "gallery"])
    # 0 finds 1; 2 is alone in its identity's gallery; 3 finds 2; the others ask nothing
    found = find_something(labels, None, roles)
    assert found.tolist() == [True, False, False, True, False, False]
    # 0 and 1 are of one camera, 2 and 3 of two
    cameras = np.array([7, 7, 7, 8, 7, 8])
    found = find_something(labels, cameras, roles)
    assert found.tolist() == [False, False, False, True, False, False]


@given(seed=st.integers(0, 2**16), with_cameras=st.booleans(), with_roles=st.booleans())
def test_it_is_the_definition(seed, with_cameras, with_roles):
    rng = np.random.default_rng(seed)
    labels, cameras = rng.integers(0, 4, 12), rng.integers(0, 2, 12) if with_cameras else None
    roles = Roles.of(rng.choice(list(ROLES), 12).tolist()) if with_roles else None
    expected = [
        (roles is None or bool(roles.is_query[q]))
        and any(
            g != q
            and labels[g] == labels[q]
            and (cameras is None or cameras[g] != cameras[q])
            and (roles is None or roles.is_gallery[g])
            for g in range(12)
        )
        for q in range(12)
    ]
    assert find_something(labels, cameras, roles).tolist() == expected
