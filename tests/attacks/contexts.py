"""What an attack is told, for tests."""

import torch

from tdml.attacks import Context, Knowledge, Victim


def updates(rows, coordinates, seed=0):
    return torch.randn(rows, coordinates, generator=torch.Generator().manual_seed(seed))


def context(honest=None, attackers=1, seed=0, **changes):
    """The context of r0.s0 with one tensor of two parameters, unless changed; it knows the (h, d)
    `honest`."""
    knowledge = None if honest is None else Knowledge.of(honest, attackers, every=True)
    generator, shared = (torch.Generator().manual_seed(s) for s in (seed, 77))
    told = {
        "round": 1, "node": "r0.s0", "replica": 0, "stage": 0, "names": ("a",), "sizes": (2,),
        "parameters": 2, "generator": generator, "shared": shared, "knowledge": knowledge,
    }  # fmt: skip
    return Context(**(told | changes))


def victim(**changes):
    """A job of two stages on images of ten classes, one of whose replicas attacks, unless
    changed."""
    job = {
        "inputs": torch.zeros(4, 3, 8, 8), "labels": 10, "outputs": 10,
        "names": (("0.weight", "0.bias"), ("1.weight",)), "held": (frozenset({0, 1}),),
        "honest": frozenset({0, 1}), "buffered": frozenset({0}),
    }  # fmt: skip
    return Victim(**(job | changes))
