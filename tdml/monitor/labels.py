"""Names beside the ends of lines in a figure, such that none covers another."""

from collections.abc import Sequence


def spread(values: Sequence[float], least: float, low: float, high: float) -> list[float]:
    """The values moved apart until neighbours lie at least `least` from each other, and into [low,
    high] if they have room there. Those that crowd stay centred on where they were, together. In
    the order of `values`."""
    order = sorted(range(len(values)), key=lambda i: values[i])
    crowds: list[tuple[float, list[int]]] = []  # centre, and members from the lowest to the highest
    for i in order:
        members = [i]
        centre = _inside(values[i], 0.0, low, high)
        while crowds and centre - crowds[-1][0] < least * (len(crowds[-1][1]) + len(members)) / 2:
            members = crowds.pop()[1] + members
            mean = sum(values[j] for j in members) / len(members)
            centre = _inside(mean, least * (len(members) - 1) / 2, low, high)
        crowds.append((centre, members))
    positions = [0.0] * len(values)
    for centre, members in crowds:
        for place, i in enumerate(members):
            positions[i] = centre + least * (place - (len(members) - 1) / 2)
    return positions


def _inside(centre: float, half: float, low: float, high: float) -> float:
    """The centre of a crowd that reaches `half` both ways, moved inside; the middle where there is
    no room."""
    return (low + high) / 2 if high - low < 2 * half else min(max(centre, low + half), high - half)


def shorten(names: Sequence[str]) -> tuple[str, list[str]]:
    """The words with which all names begin, as a title, and the names without them. Words have
    hyphens between them, and every name keeps one at least."""
    words = [name.split("-") for name in names]
    shared = 0
    while (
        all(len(parts) > shared + 1 for parts in words)
        and len({parts[shared] for parts in words}) == 1
    ):
        shared += 1
    return " · ".join(words[0][:shared]) if words else "", [
        "-".join(parts[shared:]) for parts in words
    ]
