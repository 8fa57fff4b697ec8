"""Cases for the laboratory, small."""

from tdml.lab.grids import Case

SMALL = [
    "data=digits",
    "data.size=8",
    "model=mlp",
    "model.features=192",
    "model.hidden=8",
    "device=cpu",
]


def case(attack="none", attackers=0, **changes):
    changes = {"steps": 1, "defence": "tdml", "seed": 0, "rounds": 3} | changes
    return Case("digits-mlp", 4, attackers, attack=attack, **changes)
