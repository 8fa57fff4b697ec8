"""Who takes part from the next round on."""

from typing import TYPE_CHECKING

from tdml.cluster.fleet import RpcFleet
from tdml.cluster.sessions import Sessions

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor
    from tdml.recorder import Recorder


def renew(
    number: int, fleet: RpcFleet, sessions: Sessions, recorder: "Recorder", monitor: "Monitor"
) -> None:
    """Form the next session before round `number`, if somebody wants to come in or is gone; the
    ledger and the user are told who came.

    Raises:
        DistError: the store, where all meet, is gone.
    """
    if not sessions.lobby.rings and not fleet.has_lost_members:
        return
    roster = fleet.roster
    known = dict(roster.keys)
    # those of an earlier part of the run need not have come back: the entrance knows their keys
    banned = {roster.keys[name] for name in fleet.banned if name in roster.keys}
    admission = sessions.renew(fleet.present, banned)
    fleet.caller.at = sessions.at
    came = fleet.enter(admission)
    if roster.keys != known:
        recorder.admit(number, roster)
        roster.write(monitor.folder.path / "roster.yaml")
    for name in came:
        monitor.tell(f"{name} {'is back' if name in known else 'has joined'}", "")
    for reason in admission.faults.values():
        monitor.tell(f"a node is refused: {reason}", "")
