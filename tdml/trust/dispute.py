"""A dispute: transcripts of the same steps that do not end alike. Where do they part?

They say, for every step, what every channel between the stages carried, and what state every stage
was left in. These items are walked in causal order. All items before the first on which not all
agree are common ground: so whoever recomputes the one step of the one stage that makes it, from
there, knows who has lied.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile

STATE, END = -1, -2  # instead of a channel's number: a state, and the update at the round's end


@dataclass(frozen=True)
class Item:
    """Something that a stage has made in a step: the message on a channel, STATE or END."""

    step: int  # from the window's first
    stage: int  # that made it
    channel: int = STATE


@dataclass(frozen=True)
class Transcript:
    """What one party says of a window: the digests of items, not necessarily of all."""

    party: int
    digests: Mapping[Item, str]


def items(steps: int, senders: Sequence[int], stages: int, last: bool) -> Iterator[Item]:
    """All items of a window in causal order.

    Args:
        senders: the stages that send on the channels, in these channels' own causal order.
        last: whether the window is the round's last, which ends with an update.
    """
    for step in range(steps):
        for channel, sender in enumerate(senders):
            yield Item(step, sender, channel)
        for stage in range(stages):
            yield Item(step, stage)
    for stage in range(stages) if last else ():
        yield Item(steps - 1, stage, END)


def first_differences(transcripts: Sequence[Transcript], walk: Iterator[Item]) -> list[Item]:
    """The first item on which the transcripts that have it do not agree. If it is a state or an
    update, also those of other stages in the same step on which they do not: none depends on it."""
    parted = (i for i in walk if len({said for _, said in _spoken(transcripts, i)}) > 1)
    if (first := next(parted, None)) is None:
        return []
    return [first, *takewhile(lambda i: (i.step, i.channel) == (first.step, first.channel), parted)]


def agreed(transcripts: Sequence[Transcript], item: Item) -> str:
    """The digest that all transcripts have for an item before the first difference."""
    [digest] = {digest for _, digest in _spoken(transcripts, item)}
    return digest


def liars(
    transcripts: Sequence[Transcript], item: Item, right: Mapping[str, bool | None]
) -> tuple[int, ...]:
    """The parties whose digest of an item is wrong, if some party's is right: where recomputation
    finds what nobody has, machines or code are to blame. `right`: by digest; None: nobody knows."""
    spoken = _spoken(transcripts, item)
    if not any(right[digest] for _, digest in spoken):
        return ()
    return tuple(dict.fromkeys(party for party, digest in spoken if right[digest] is False))


def _spoken(transcripts: Sequence[Transcript], item: Item) -> list[tuple[int, str]]:
    return [(each.party, each.digests[item]) for each in transcripts if item in each.digests]
