"""Who plays a round, and whom a run waits for when nobody is left."""

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch.distributed as dist

from tdml.cluster.fleet import RpcFleet
from tdml.cluster.membership import await_return, note_farewells, renew
from tdml.cluster.replica import RpcReplica
from tdml.errors import CannotGoOn
from tdml.members.sessions import Sessions

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor
    from tdml.round.recorder import Recorder

_SIGNAL_S = 1.0  # that whoever ends the store's host may take to end this process, too


class Muster:
    """Calls together who can take part in a round."""

    def __init__(
        self,
        fleet: RpcFleet,
        sessions: Sessions,
        recorder: "Recorder",
        monitor: "Monitor",
        patience: float,
    ) -> None:
        """`patience` is how many seconds nodes may be gone when no replica is left."""
        self._fleet, self._sessions, self._recorder = fleet, sessions, recorder
        self._monitor, self._patience = monitor, patience

    def replicas(self, number: int) -> Sequence[RpcReplica]:
        """Those of a round. Where no replica is left, those that are gone may come back.

        Raises:
            CannotGoOn: none comes back, or the store, where all meet, is gone.
        """
        fleet = self._fleet
        until, came = time.monotonic() + self._patience, self._regroup(number)
        while came:
            replicas = fleet.muster()
            note_farewells(fleet, self._sessions)
            if fleet.can_go_on():
                return replicas
            came = self._regroup(number, until)
        raise CannotGoOn(
            f"no replica is left: {len(fleet.banned)} nodes banned, {len(fleet.dead)} dead, "
            f"{len(fleet.left)} have left, {len(fleet.roster.refused)} refused, no spare: "
            f"{self._monitor.folder.how_to_go_on}, with more topology.spares if nodes are banned"
        )

    def _regroup(self, number: int, until: float | None = None) -> bool:
        """Let in who has come, and go on without those that are gone; with `until` somebody must
        come before. Whether somebody has."""
        say = self._monitor.terminal.waiting
        try:
            if until and not await_return(self._fleet, self._sessions, until, say):
                return False
            renew(number, self._fleet, self._sessions, self._recorder, self._monitor)
        except dist.DistError as error:
            time.sleep(_SIGNAL_S)
            self._fleet.meanwhile()
            raise CannotGoOn(
                "the job's store is gone, which torchrun holds on the first machine: "
                f"{self._monitor.folder.how_to_go_on}"
            ) from error
        return True
