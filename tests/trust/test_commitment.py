import hashlib
import struct

import numpy as np
import pytest
import torch

from tdml.trust.commitment import Inspection, commitment, content, has_diverged, inspect, remember, training_diverges

UPDATE = torch.tensor([1.5, -2.0])
CONTENT = content(UPDATE)

# Content


def test_digest_of_type_shape_and_bytes():
    text = b"tdml tensor|torch.float32|(2,)|" + struct.pack("<2f", 1.5, -2.0)
    assert content(UPDATE) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        UPDATE.view(2, 1), UPDATE.view(torch.int32), torch.nextafter(UPDATE, torch.tensor(9.0)), UPDATE.flip(0),
        torch.tensor([1.5, -2.0, 0.0]),
    ],
    ids=["shape", "type", "last bit", "order", "one more"],
)  # fmt: skip
def test_anything_that_differs_changes_it(other):
    assert content(other) != CONTENT


def test_signed_zeros_differ():
    assert content(torch.tensor([0.0])) != content(torch.tensor([-0.0]))


@pytest.mark.parametrize(
    "same",
    [
        UPDATE.clone().requires_grad_(),
        torch.tensor([1.5, 9.0, -2.0, 9.0])[::2],
        torch.tensor([[1.5, 0.0], [-2.0, 0.0]])[:, 0],
    ],
    ids=["with gradient", "strided", "column"],
)
def test_how_it_lies_in_memory_does_not_matter(same):
    assert content(same) == CONTENT


@pytest.mark.parametrize("update", [torch.empty(0), torch.tensor([torch.nan, torch.inf]), UPDATE.bfloat16()])
def test_any_tensor_has_a_content(update):
    assert len(content(update)) == 64


# Commitment


def test_digest_of_round_node_and_content():
    assert commitment(3, "r0.s1", "ab") == hashlib.sha256(b"tdml commitment|3|r0.s1|ab").hexdigest()


@pytest.mark.parametrize(
    "other", [(4, "r0.s1", CONTENT), (3, "r1.s1", CONTENT), (3, "r0.s1", content(UPDATE.flip(0)))],
    ids=["round", "node", "content"],
)  # fmt: skip
def test_it_binds_the_content_to_round_and_node(other):
    assert commitment(*other) != commitment(3, "r0.s1", CONTENT)


# Inspection


def look(update=UPDATE, digest=None, size=2, seen=None, strict=True, node="r0.s1", number=3):
    """What is found of an update, by default of one that was honestly committed to."""
    if digest is None:
        digest = commitment(number, node, content(update)) if isinstance(update, torch.Tensor) else "none"
    return inspect(update, size, digest, node, number, seen or {}, strict)


def test_nothing_is_wrong_with_an_honest_update():
    assert look() == Inspection(CONTENT, "")
    assert look(seen={content(UPDATE.flip(0)): 2}) == Inspection(CONTENT, "")


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("update", "kind"),
    [
        (torch.zeros(3), "torch.float32 of shape (3,)"),
        (torch.zeros(1, 2), "torch.float32 of shape (1, 2)"),
        (torch.zeros(()), "torch.float32 of shape ()"),
        (torch.zeros(2).double(), "torch.float64 of shape (2,)"),
        (torch.zeros(2).half(), "torch.float16 of shape (2,)"),
        (torch.zeros(2, dtype=torch.int32), "torch.int32 of shape (2,)"),
        (None, "NoneType"), ([1.0, 2.0], "list"), (np.zeros(2, np.float32), "ndarray"),
    ],
)  # fmt: skip
def test_what_is_no_vector_of_that_size_is_a_fault(update, kind, strict):
    assert look(update, strict=strict) == Inspection("", f"the update is {kind}, not float32 of shape (2,)")


@pytest.mark.parametrize(
    "digest",
    [
        CONTENT, commitment(2, "r0.s1", CONTENT), commitment(3, "r1.s1", CONTENT),
        commitment(3, "r0.s1", content(2 * UPDATE)), commitment(3, "r0.s1", CONTENT).upper(), "", None, 5, [CONTENT],
    ],
    ids=["content", "round", "node", "update", "capitals", "empty", "none", "number", "list"],
)  # fmt: skip
def test_another_digest_than_the_updates_is_a_fault(digest):
    found = inspect(UPDATE, 2, digest, "r0.s1", 3, {}, True)
    assert found == Inspection(CONTENT, "the update is not the one that it had committed to")


@pytest.mark.parametrize(
    "update", [[torch.nan, 0.0], [0.0, torch.inf], [-torch.inf, 1.0], [torch.inf, -torch.inf], [torch.nan, torch.inf]]
)
def test_what_is_not_finite_is_a_fault(update):
    update = torch.tensor(update)
    assert look(update) == Inspection(content(update), "the update has values that are not finite", diverged=True)


def test_the_largest_numbers_are_finite():
    largest = torch.full((1000,), torch.finfo(torch.float32).max)
    assert look(largest, size=1000).fault == look(-largest, size=1000).fault == ""


@pytest.mark.parametrize("update", [UPDATE, torch.tensor([0.0, 1e-45])])
def test_what_was_handed_in_before_is_a_fault_though_it_was_committed_to_anew(update):
    earlier = look(update, node="r4.s1", number=1)
    assert earlier.fault == ""
    found = look(update, seen={earlier.content: 1})
    assert found == Inspection(content(update), "the update was handed in before, in round 1")


@pytest.mark.parametrize("zeros", [torch.zeros(2), -torch.zeros(2), torch.zeros(0)])
def test_zeros_may_be_handed_in_again(zeros):
    assert look(zeros, size=len(zeros), seen={content(zeros): 1}) == Inspection(content(zeros), "")


@pytest.mark.parametrize("update", [UPDATE, torch.tensor([torch.nan, torch.inf])])
def test_without_trust_only_type_and_shape_count(update):
    assert look(update, digest="other", seen={content(update): 1}, strict=False) == Inspection("", "")


@pytest.mark.filterwarnings("ignore:Converting a tensor with requires_grad")
def test_the_update_is_left_as_it_was():
    update = UPDATE.clone().requires_grad_()
    assert look(update).fault == ""
    assert torch.equal(update, UPDATE)
    assert update.requires_grad


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize(
    ("update", "kind"),
    [
        (UPDATE.to_sparse(), "torch.float32 of shape (2,)"),
        (torch.empty(2, device="meta"), "torch.float32 of shape (2,)"),
        (torch.zeros(3).double().to_sparse(), "torch.float64 of shape (3,)"),
    ],
    ids=["sparse", "meta", "sparse float64"],
)
def test_a_tensor_without_plain_memory_is_a_fault(update, kind, strict):
    found = inspect(update, 2, "other", "r0.s1", 3, {}, strict)
    assert found == Inspection("", f"the update is {kind}, not float32 of shape (2,)")


# What is remembered


def test_a_content_is_remembered_with_its_first_round():
    seen = {"a": 1}
    remember(seen, ["a", "b"], 2)
    assert seen == {"a": 1, "b": 2}


def test_what_several_handed_in_and_what_is_none_is_not_remembered():
    seen: dict[str, int] = {}
    remember(seen, ["a", "a", "", "b"], 3)
    assert seen == {"b": 3}


SOUND, DIVERGED, WRONG = Inspection("a", ""), Inspection("b", "not finite", diverged=True), Inspection("c", "a list")


@pytest.mark.parametrize(
    ("nodes", "diverged"),
    [([SOUND, DIVERGED], True), ([DIVERGED], True), ([SOUND, SOUND], False), ([DIVERGED, WRONG], False)],
)
def test_a_replica_has_diverged_if_its_update_is_not_finite_and_that_is_all(nodes, diverged):
    assert has_diverged(nodes) == diverged


def test_training_diverges_where_most_replicas_do():
    counts = ((0, 1), (1, 1), (1, 2), (2, 2), (2, 4), (3, 5))
    assert [training_diverges(*count) for count in counts] == [False, True, False, True, False, True]
