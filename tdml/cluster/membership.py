"""Which nodes take part from the next round on."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tdml.cluster.fleet import RpcFleet
from tdml.members.roster import COORDINATOR_NAME
from tdml.members.sessions import Sessions
from tdml.members.waiting import listed
from tdml.wire.rpc_world import OPEN_THE_WAY

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor
    from tdml.round.recorder import Recorder

_POLL_S = 0.1
# that others have who come back when one has: they look for the store every few seconds
_OTHERS_S = 5.0


def note_farewells(fleet: RpcFleet, sessions: Sessions) -> None:
    """Note which of the dead nodes have said goodbye."""
    for node in fleet.nodes.values():
        node.left = node.dead and sessions.rendezvous.has_left(node.visit)


def await_return(
    fleet: RpcFleet, sessions: Sessions, until: float, waiting: Callable[[str], None]
) -> bool:
    """Wait for nodes that are gone to ring: the network may be cut between the coordinator and all
    of them. Returns whether somebody has rung; at once if all have left or are banned.

    Args:
        until: the time, by `time.monotonic`, up to which to wait.
        waiting: is told whom the coordinator waits for, in words.

    Raises:
        DistError: the store, where all meet, is gone.
    """
    missing, first = fleet.dead, None  # when somebody rang
    while missing and (now := time.monotonic()) < until:
        rings = sessions.rendezvous.rings
        first = first or (now if rings else None)
        if rings >= len(missing) or (first and now - first > _OTHERS_S):
            return True
        waiting(f"no replica is left: waiting for {listed(missing)} to come back")
        fleet.meanwhile()
        time.sleep(_POLL_S)
    return False


def renew(
    number: int, fleet: RpcFleet, sessions: Sessions, recorder: "Recorder", monitor: "Monitor"
) -> None:
    """Form the next session before round `number`, if somebody wants to come in or is gone. Ledger
    and user are told who came.

    Raises:
        DistError: the store, where all meet, is gone.
        NotFormed: this machine cannot be reached by RPC.
    """
    part_from_the_slow(fleet)
    note_farewells(fleet, sessions)
    due = sessions.is_due()
    if not due and not fleet.has_lost_members:
        return
    for node in fleet.nodes.values():  # spares too, whom nobody has called since
        node.dead |= node.usable and sessions.rendezvous.has_left(node.visit)
    note_farewells(fleet, sessions)
    roster = fleet.roster
    before, nodes = roster.body, set(fleet.nodes)
    # those of an earlier part of the run need not have come back: the admission knows their keys
    banned = {roster.keys[name] for name in fleet.banned if name in roster.keys}
    admitted = sessions.renew(fleet.present, banned)
    fleet.caller.at = sessions.at
    came = fleet.enter(admitted)
    if roster.body != before:  # also whoever was refused and is not any more
        recorder.admit(number, roster)
        roster.write(monitor.folder.path / "roster.yaml")
    for name in came:
        monitor.tell(f"{name} {'is back' if name in nodes else 'has joined'}", "")
    silent = [*admitted.absent, *fleet.greet()]
    sessions.note(admitted, silent)
    for name in silent:
        monitor.tell(f"{name} has not come to the session, and is left out: {OPEN_THE_WAY}", "")
    for name, reason in admitted.faults.items():
        monitor.tell(f"{name} is refused: {reason}", "")


def part_from_the_slow(fleet: RpcFleet) -> None:
    """Give up the nodes that were too slow to answer in two rounds in a row, even if no spare can
    take their slots, unless no replica would be left."""
    for name in fleet.patience.promptness.end_round():
        if fleet.stand_down(name) or fleet.can_do_without(name):
            fleet.give_up([name], "too slow to answer, twice in a row")


def refusals(fleet: RpcFleet) -> list[tuple[str, str]]:
    """What was refused of all that came by RPC since this was last asked: the receiver, and what.
    RPC does not tell who sent it."""
    by_replica = fleet.each(lambda replica: replica.refused(), fleet.ready(fleet.slots.replicas))
    by_name = {name: texts for by_node in by_replica.values() for name, texts in by_node.items()}
    by_name[COORDINATOR_NAME] = fleet.caller.refusals.take()
    return [(name, text) for name, texts in by_name.items() for text in texts]
