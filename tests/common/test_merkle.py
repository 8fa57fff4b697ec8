import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tdml.common.merkle import climbs_to, path, root

digests = st.integers(0, 2**256 - 1).map(lambda number: f"{number:064x}")
PROPERTY = settings(derandomize=True, deadline=None, max_examples=100)


def plain_root(blocks):
    """RFC 6962, section 2.1, word for word."""
    n = len(blocks)
    if n == 0:
        return hashlib.sha256(b"").digest()
    if n == 1:
        return hashlib.sha256(b"\x00" + blocks[0]).digest()
    k = max(2**e for e in range(20) if 2**e < n)
    return hashlib.sha256(b"\x01" + plain_root(blocks[:k]) + plain_root(blocks[k:])).digest()


def leaves(count):
    return [hashlib.sha256(bytes([number])).hexdigest() for number in range(count)]


@PROPERTY
@given(st.lists(digests, max_size=40))
def test_the_root_is_that_of_the_rfc(found):
    assert root(found) == plain_root([bytes.fromhex(leaf) for leaf in found]).hex()


@pytest.mark.parametrize("count", range(1, 18))
def test_every_leaf_has_a_path_to_the_root(count):
    tree = leaves(count)
    for index, leaf in enumerate(tree):
        assert climbs_to(leaf, path(tree, index)) == root(tree)
        assert len(path(tree, index)) <= (count - 1).bit_length()


@PROPERTY
@given(st.lists(digests, min_size=1, max_size=20, unique=True), digests, st.data())
def test_no_other_leaf_has_that_path(tree, other, data):
    index = data.draw(st.integers(0, len(tree) - 1))
    way = path(tree, index)
    assert (climbs_to(other, way) == root(tree)) == (other == tree[index])
    if way:
        step = data.draw(st.integers(0, len(way) - 1))
        turned = [
            *way[:step],
            ("left" if way[step][0] == "right" else "right", way[step][1]),
            *way[step + 1 :],
        ]
        assert climbs_to(tree[index], turned) != root(tree)


def test_a_repeated_last_leaf_and_an_inner_node_as_a_leaf_change_the_root():
    three = leaves(3)
    assert root(three) != root([*three, three[-1]])
    assert root([root(three[:2]), three[2]]) != root(three)
    assert root([root(three)]) != root(three)
