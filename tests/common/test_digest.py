"""The digest of a tensor."""

import torch
from blake3 import blake3

from tdml.common.digest import digest, digests


def test_digest_tells_type_shape_and_bytes_apart() -> None:
    tensors = [
        torch.zeros(4), torch.zeros(2, 2), torch.zeros(4, dtype=torch.int32),
        torch.zeros(2, dtype=torch.float64), torch.tensor(0.0), torch.zeros(0), torch.zeros(1),
        torch.tensor([0.0, 0.0, 0.0, -0.0]), torch.zeros(4, dtype=torch.bool),
        torch.zeros(2, dtype=torch.bfloat16),
    ]  # fmt: skip
    assert len({digest(tensor) for tensor in tensors}) == len(tensors)


def test_digest_is_blake3_of_type_shape_and_bytes() -> None:
    tensor = torch.arange(6, dtype=torch.float32).view(2, 3)
    plain = blake3(b"tdml tensor|torch.float32|(2, 3)|" + tensor.numpy().tobytes()).digest()
    assert digest(tensor) == digest(tensor) == plain
    assert digest(tensor.t().contiguous().t()) == plain


def test_digest_follows_a_tensor_that_is_changed_in_place() -> None:
    tensor = torch.zeros(5)
    before = digest(tensor)
    tensor[3] = 1
    assert digest(tensor) != before
    assert digest(tensor) == digest(tensor.clone())


def test_digests_of_tensors_that_are_gone_are_forgotten() -> None:
    for _ in range(100):
        assert digest(torch.zeros(3)) != digest(torch.ones(3))


def test_the_digests_of_several_are_those_of_each() -> None:
    tensors = [torch.full((size,), float(size)) for size in (0, 5, 1, 70_000, 5)]
    assert digests([tensor.clone() for tensor in tensors]) == [digest(t) for t in tensors]
    assert digests([]) == []
