"""The coordinator's life: getting ready, the rounds, and what a run leaves however it ends."""

import importlib
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING

import torch.distributed as dist

from tdml.cluster.channel import Caller, Session
from tdml.cluster.entrance import Admission, admit_ranks
from tdml.cluster.fleet import RpcFleet
from tdml.cluster.guard import Guard
from tdml.cluster.interruption import Interruption
from tdml.cluster.lobby import Card, Decision, Lobby
from tdml.cluster.own_key import named_identity
from tdml.cluster.room import check_room, in_words
from tdml.cluster.roster import COORDINATOR_NAME, BanList, Roster, read_roster
from tdml.cluster.topology import COORDINATOR, node_name, node_names
from tdml.cluster.waiting import LONG_S, listed
from tdml.cluster.wire import start_rpc
from tdml.config import Config, Topology
from tdml.config_file import fingerprint, to_yaml
from tdml.coordinator import CannotGoOn, Coordinator
from tdml.data.contents import contents_of
from tdml.data.source import load_source
from tdml.errors import INTERRUPTED, SettingError, fail, one_line
from tdml.identity import Identity
from tdml.job import Job, prepare
from tdml.ledger.artifacts import Store
from tdml.monitor.run_folder import RunFolder
from tdml.monitor.terminal import LEGEND, Terminal, closing_lines
from tdml.recorder import Recorder
from tdml.rehearsal.timing import with_microbatches
from tdml.rewards.deterrence import warning
from tdml.round.checkpoint import Checkpoint, how_to_go_on, load_last, passed_over
from tdml.start_recorder import banned_keys, job_id, start_recorder, terms_of
from tdml.trust import ranking
from tdml.worker import METHODS

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor

_ORDERLY_END_S = 25.0  # that an interrupted run may take for it: torchrun kills after 30
_LONGEST_ERROR = 2_000  # characters of what a rank says that it cannot take part for


@dataclass(frozen=True)
class _Ready:
    """What the coordinator has when it answers the ranks. `config` is that of config.yaml."""

    config: Config
    folder: RunFolder
    checkpoint: Checkpoint | None
    job: Job
    bans: BanList
    terms: dict
    caller: Caller
    admission: Admission
    recorder: Recorder

    @property
    def resumed(self) -> int:
        """The last round that is done already."""
        return self.checkpoint.round if self.checkpoint else 0


def coordinate(config: Config, lobby: Lobby, interruption: Interruption) -> int:
    """Be the coordinator."""
    with Terminal(config.rounds, config.topology.replicas) as terminal:
        interruption.defer(0, partial(_leave, terminal))
        try:
            ready = _get_ready(config, lobby, terminal)
        except (SettingError, OSError) as error:
            text = (
                f"run_dir={config.run_dir}: {error}"
                if isinstance(error, OSError)
                else one_line(error)
            )
            lobby.announce(Decision(error=text))
            return fail(text)
        except Exception as error:
            lobby.announce(Decision(error=f"the coordinator failed: {one_line(error)}"))
            raise
        lobby.announce(ready.admission.decision(ready.caller.at).signed(ready.caller.identity))
        try:
            start_rpc(lobby, ready.admission.members, config)
            return _lead(lobby, ready, terminal, interruption)
        except SettingError as error:
            return fail(str(error))
        finally:
            ready.recorder.close()


def _get_ready(config: Config, lobby: Lobby, terminal: Terminal) -> _Ready:
    """Find whatever is wrong before any training, and let the ranks in.

    Raises:
        SettingError, OSError: something is.
    """
    folder = RunFolder(config)
    checkpoint = _last_checkpoint(config, folder.checkpoints)
    resumed = checkpoint.round if checkpoint else 0
    if checkpoint is not None:
        if damaged := passed_over(folder.checkpoints, resumed):
            terminal.say(damaged, "yellow")
        folder.rewind(checkpoint.round, checkpoint.metrics)
    given = read_roster(config.identity.roster, node_names(config.topology))
    bans = BanList(config.identity.ban_list)
    identity = named_identity(config.identity.folder, COORDINATOR_NAME)
    source = load_source(config)
    complete = with_microbatches(folder.config, source)
    if config.ledger.artifacts:
        Store(config.ledger.artifacts).put(to_yaml(complete).encode())
    job = prepare(complete, source, checkpoint)
    check_room(complete, job.needs)
    terms = terms_of(complete, job, identity)
    folder.begin(complete)
    banned = bans.keys | banned_keys(folder.path, resumed)
    caller, admission = _open(config, job, folder.path, identity, lobby, terminal, given, banned)
    admission.roster.write(folder.path / "roster.yaml")
    recorder = start_recorder(
        folder.path, complete, terms, caller, admission.roster, resumed, folder.changed
    )
    folder.write_settings(complete)
    return _Ready(complete, folder, checkpoint, job, bans, terms, caller, admission, recorder)


def _lead(lobby: Lobby, ready: _Ready, terminal: Terminal, interruption: Interruption) -> int:
    """Lead the ranks through the job; the exit status."""
    from tdml.monitor.monitor import Monitor

    config, caller, admission = ready.config, ready.caller, ready.admission
    monitor = Monitor(config, ready.folder, terminal, first_round=ready.resumed + 1)
    keep_ban = partial(_keep_ban, ready.bans, admission.roster, caller.at.job, monitor)

    def meanwhile() -> None:
        interruption.check()
        terminal.waiting(fleet.waiting)

    fleet = RpcFleet(
        config,
        ready.job.plan,
        admission.backend,
        monitor.tell,
        caller,
        admission.roster,
        keep_ban,
        meanwhile,
    )
    _introduce(config, ready.folder, terminal, admission, ready.resumed)
    terminal.say(in_words(ready.job.needs), "dim")
    if ready.job.audits and (text := warning(ready.terms)):
        terminal.say(text, "yellow")
    coordinator, status = (
        Coordinator(ready.job, fleet, monitor, ready.recorder, caller.at.job, ready.checkpoint),
        1,
    )
    interruption.defer(_ORDERLY_END_S, partial(_give_up, coordinator))
    try:
        reason, status = _play(coordinator)
    finally:
        fleet.stop(status)
    status = _conclude(coordinator, terminal, reason, status)
    nodes = fleet.nodes.values()
    with suppress(dist.DistError):  # its agent is gone
        lobby.end(
            status,
            [node.rank for node in nodes if node.dead],
            [node.rank for node in nodes if node.refused],
        )
    return status


def _last_checkpoint(config: Config, folder: Path) -> Checkpoint | None:
    """What a run goes on from, if it is to be resumed.

    Raises:
        SettingError: no checkpoint can be read, or more rounds are done than the run is to have.
    """
    checkpoint = load_last(folder) if config.resume else None
    if checkpoint is not None and checkpoint.round > config.rounds:
        raise SettingError(
            f"rounds={config.rounds}, but run_dir={config.run_dir} has done {checkpoint.round} "
            f"already: give rounds={checkpoint.round} or more"
        )
    return checkpoint


def _open(
    config: Config, job: Job, run: Path, identity: Identity, lobby: Lobby, terminal: Terminal,
    given: dict[str, str] | None, banned: frozenset[str],
) -> tuple[Caller, Admission]:  # fmt: skip
    """Let the ranks in, and guard this one against them.

    Raises:
        SettingError: a rank cannot take part, or was started with other settings, or holds other
            data.
    """
    at = Session(job=job_id(run), session=secrets.token_hex(16))
    lobby.prepared(at.session)
    card = Card(fingerprint(config), gpu="", data=contents_of(job.source, config.seed))
    lobby.enter(card.signed(identity, at.session, COORDINATOR))
    importlib.import_module(
        "tdml.monitor.monitor"
    )  # it takes a while, and the others read their data meanwhile
    if config.trust.enabled:
        ranking.compiled()
    admission = admit_ranks(
        _await_cards(lobby, terminal, config.topology), at.session, config.topology, given, banned
    )
    guard = Guard(obey=None)
    guard.install()
    return Caller(identity, at, admission.roster.keys, METHODS, guard.refusals), admission


def _play(coordinator: Coordinator) -> tuple[str, int]:
    """Play the rounds; why there are no more of them, and the exit status."""
    try:
        return coordinator.run(), 0
    except CannotGoOn as error:
        return str(error), 1
    except KeyboardInterrupt:
        return _interrupted(coordinator.last_round), INTERRUPTED
    except OSError as error:
        go_on = how_to_go_on(coordinator.last_round)
        return (
            f"run_dir={coordinator.job.config.run_dir} cannot be written: {one_line(error)}: "
            f"{go_on}",
            1,
        )
    except SettingError as error:
        return f"{one_line(error)}: {how_to_go_on(coordinator.last_round)}", 1


def _conclude(coordinator: Coordinator, terminal: Terminal, reason: str, status: int) -> int:
    """Write what a run leaves, however it has ended; the exit status."""
    from tdml.monitor.report import write_report

    fleet, monitor = coordinator.fleet, coordinator.monitor
    try:
        model = "model.pt" if status == 0 else None
        monitor.finish(reason, fleet.banned, fleet.dead, model, coordinator.notices)
        report = coordinator.last_round > 0 and bool(write_report(monitor.folder.path))
    except OSError as error:
        return fail(f"{reason}; summary.json cannot be written: {one_line(error)}", status or 1)
    terminal.say("")
    if status:
        fail(reason)
    else:
        banned = ", ".join(fleet.banned)
        terminal.say(f"{reason}; banned: {banned or 'none'}", "bold")
    for line in closing_lines(monitor.folder.path, report, status == 0):
        terminal.say(line)
    return status


def _await_cards(lobby: Lobby, terminal: Terminal, topology: Topology) -> list[Card]:
    """Wait for all ranks; their cards.

    Raises:
        SettingError: a rank cannot take part.
    """
    start = time.monotonic()

    def waiting(missing: Sequence[int]) -> None:
        names = [node_name(rank, topology) for rank in missing if rank != COORDINATOR]
        text = (
            f"waiting for {len(names)} of {topology.world_size - 1} nodes: {listed(names)}"
            if names
            else ""
        )
        terminal.status(lambda: text)
        if time.monotonic() - start > LONG_S:
            terminal.waiting(text)

    cards = lobby.gather(waiting)
    waiting([])
    for card in cards:
        if card.error:
            raise SettingError(card.error[:_LONGEST_ERROR])
    return cards


def _keep_ban(
    bans: BanList, roster: Roster, job: str, monitor: "Monitor", name: str, reason: str
) -> None:
    """Add a node's key to the ban list. The run goes on without that: the node is banned from this
    one anyway."""
    try:
        bans.add(roster.keys[name], name, reason, job)
    except (OSError, SettingError) as error:
        monitor.tell(
            f"the key of {name} could not be added to identity.ban_list: {one_line(error)}", ""
        )


def _introduce(
    config: Config, folder: RunFolder, terminal: Terminal, admission: Admission, resumed: int
) -> None:
    topology = config.topology
    if folder.moved:
        terminal.say(f"an earlier run in {folder.path} was moved to {folder.moved}", "yellow")
    terminal.say(
        f"{config.name}: replicas {topology.replicas} × stages {topology.stages} + spares "
        f"{topology.spares}, stages connected by {admission.backend}"
        + (f", going on after round {resumed}" if resumed else ""),
        "bold",
    )
    roster = admission.roster
    for name, reason in roster.refused.items():
        terminal.say(f"{name} is refused: {reason}", "yellow")
    if not roster.given:
        keys = ", ".join(f"{name} {key[:8]}" for name, key in roster.keys.items())
        terminal.say(f"keys trusted at first contact: {keys}", "dim")
    terminal.say(LEGEND, "dim")


def _interrupted(last_round: int) -> str:
    done = f"after round {last_round}" if last_round else "before the first round was done"
    return f"interrupted {done}: {how_to_go_on(last_round)}"


def _leave(terminal: Terminal, number: Signals) -> None:
    """Nothing is at stake yet. The other ranks hear it from their agents, or find the store
    gone."""
    try:
        terminal.close()
        fail(f"interrupted before the rounds began ({number.name})")
    finally:
        os._exit(INTERRUPTED)


def _give_up(coordinator: Coordinator, number: Signals) -> None:
    """The end takes too long; what counts is written after every round."""
    text = (
        f"{_interrupted(coordinator.last_round)} (the end took longer than "
        f"{_ORDERLY_END_S:.0f} s: no report)"
    )
    os._exit(fail(text, INTERRUPTED))
