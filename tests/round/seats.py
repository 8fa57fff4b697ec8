"""Nodes of a laboratory that are put in the place of honest ones."""

from tdml.lab.laboratory import Laboratory
from tdml.round.result import Round


def sit(laboratory: Laboratory, name: str, kind: type, **attributes: object) -> None:
    """Have a node be of another class, and have these attributes."""
    node = laboratory.fleet.nodes[name]
    node.__class__ = kind
    vars(node).update(attributes)


def banned(played: Round) -> list[str]:
    """Names of the nodes that a round has banned, sorted."""
    return sorted(played.bans)
