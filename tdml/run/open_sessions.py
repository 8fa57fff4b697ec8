"""How the coordinator lets the ranks in."""

import importlib
import time
from collections.abc import Callable, Collection, Mapping

from tdml.data.contents import contents_of
from tdml.errors import SettingError
from tdml.members.admission import Admission, Admitted
from tdml.members.cards import Card
from tdml.members.owners import owners_of
from tdml.members.rendezvous import Rendezvous
from tdml.members.roster import Roster
from tdml.members.sessions import Sessions
from tdml.members.waiting import LONG_S, listed
from tdml.monitor.terminal import Terminal
from tdml.protocol.identity import Identity
from tdml.protocol.names import COORDINATOR, node_name
from tdml.round.job import Job
from tdml.settings.code import code_of
from tdml.settings.file import fingerprint
from tdml.settings.schema import Config, Topology
from tdml.trust import ranking
from tdml.wire.rpc_world import room_for_members


def open_sessions(
    config: Config,
    job: Job,
    job_id: str,
    identity: Identity,
    rendezvous: Rendezvous,
    terminal: Terminal,
    roster: Roster,
    banned: frozenset[str],
    former: Mapping[str, str],
) -> tuple[Sessions, Admitted]:
    """Let the ranks in.

    Raises:
        SettingError: a rank cannot take part, or was started with other settings, or holds other
            data.
    """
    card = _card(config, job, identity, rendezvous)
    owners = owners_of(config, job.source, job.plan.borders[-1].shape, job.shares)
    room, ranks = room_for_members(), config.topology.world_size
    if ranks > room:
        raise SettingError(
            f"topology has {ranks} ranks, and by the files that this process may open there can be "
            f"{room}: allow more of them (ulimit -Hn), or lower topology.replicas"
        )
    admission = Admission(card, config.topology, roster, banned, former, owners, room - ranks)
    size = config.topology.world_size if config.resume else rendezvous.world_size
    sessions = Sessions(
        rendezvous,
        identity,
        job_id,
        admission,
        config.sync.timeout,
        size,
        config.topology.stages,
    )
    sessions.open()
    # it takes a while, and the others read their data meanwhile
    importlib.import_module("tdml.monitor.monitor")
    if config.trust.enabled:
        ranking.compiled()
    return sessions, sessions.first(_waiting(terminal, config.topology, sessions.ranks))


def _card(config: Config, job: Job, identity: Identity, rendezvous: Rendezvous) -> Card:
    """What those of the ranks are held against."""
    # Where nodes have data of their own there is nothing to hold it against.
    own = job.config.own_data
    held = None if own else contents_of(job.source, config.seed, read_before=True)
    return Card(
        fingerprint(config),
        "",
        held,
        code_of(config),
        rank=COORDINATOR,
        visit=rendezvous.visit,
        public=identity.public,
    )


def _waiting(
    terminal: Terminal, topology: Topology, ranks: int
) -> Callable[[Collection[int]], None]:
    """Says which of the ranks have not come yet."""
    start = time.monotonic()

    def waiting(missing: Collection[int]) -> None:
        names = [node_name(rank, topology) for rank in sorted(missing)]
        text = f"waiting for {len(names)} of {ranks - 1} nodes: {listed(names)}" if names else ""
        terminal.status(lambda: text)
        if time.monotonic() - start > LONG_S:
            terminal.waiting(text)

    return waiting
