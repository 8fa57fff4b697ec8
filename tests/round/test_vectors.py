"""A vector is what it is known by, in the one form that others can go on from."""

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch

from tdml.common.digest import digest
from tdml.common.merkle import root
from tdml.round.vectors import DigestMismatch, Vector, fetch_vector

_VALUE = torch.tensor([1.0, 2.0, 3.0])
_KNOWN = [digest(_VALUE).hex()]


def _fetch(
    block: object,
    size: int = 3,
    digests: Sequence[str] = _KNOWN,
    content: str | None = root(_KNOWN),
) -> torch.Tensor:
    source = SimpleNamespace(index=4, digests=lambda *_: digests, reveal=lambda *_: block)
    return fetch_vector(source, Vector("update", 2, size, content))


@pytest.mark.parametrize("content", [root(_KNOWN), None])
def test_a_vector_comes_as_it_is(content: str | None) -> None:
    assert torch.equal(_fetch(_VALUE, content=content), _VALUE)


@pytest.mark.parametrize(
    "given",
    [
        {"block": _VALUE + 1},
        {"block": None},
        {"block": _VALUE, "size": 4},
        {"block": _VALUE, "digests": [], "content": None},
        {"block": _VALUE, "digests": _KNOWN * 2, "content": None},
        {"block": _VALUE, "content": "0" * 64},
        {"block": _VALUE.double(), "digests": [digest(_VALUE.double()).hex()], "content": None},
    ],
    ids=["other values", "nothing", "another size", "no digests", "too many", "another", "float64"],
)
def test_what_is_none_is_not_shown(given: dict) -> None:
    with pytest.raises(DigestMismatch) as caught:
        _fetch(**given)
    assert (caught.value.replica, caught.value.stage) == (4, 2)
