"""Who is late again and again takes no more part.

One node that stalls makes all of its replica late. Its partners are not given up with it: half of
those who may be the one go on in another replica, until whoever is late there too is alone.
"""

from collections.abc import Collection, Mapping, Sequence

from tdml.round.fleet import Fleet


class Lateness:
    """Of the rounds so far.

    Args:
        may_move: whether nodes may take the places of others; not where they own their data.
    """

    def __init__(self, fleet: Fleet, may_move: bool) -> None:
        self._fleet, self._may_move = fleet, may_move
        self._last: dict[int, tuple[str, ...]] = {}  # nodes of the last round's late, by replica
        self._times: dict[str, int] = {}  # that a node was suspected, since it was in time

    def close(self, names: Mapping[int, tuple[str, ...]], late: Collection[int]) -> None:
        """A round in which the replicas with these nodes trained has ended. Who is late twice in a
        row is parted from, unless nobody would be left."""
        in_time = [index for index in names if index not in late]
        for index in in_time:
            for name in names[index]:
                self._times.pop(name, None)
        again = [index for index in late if self._last.get(index) == names[index]]
        self._last = {index: names[index] for index in late}
        if len(again) < len(names):
            for index in again:
                self._part(names[index], names[in_time[0]] if in_time else ())

    def _part(self, names: tuple[str, ...], others: Sequence[str]) -> None:
        """`others`, who were in time, are joined by half of those who may be the one."""
        most = max(self._times.get(name, 0) for name in names)
        suspects = [name for name in names if self._times.get(name, 0) == most]
        for name in suspects:
            self._times[name] = most + 1
        if len(suspects) == 1 < len(names):
            self._fleet.give_up(suspects, "late again and again, whoever is with it")
        elif len(names) == 1 or not (others and self._may_move):
            self._fleet.give_up(names, "late twice in a row")
        else:
            for name in suspects[len(suspects) // 2 :]:
                self._fleet.swap(name, others[names.index(name)])
