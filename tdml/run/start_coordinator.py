"""The coordinator's life until the rounds begin, and who is told that they have ended."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch.distributed as dist

from tdml.cluster.fleet import RpcFleet
from tdml.data.shares import digest_of
from tdml.data.source import load_source
from tdml.errors import SettingError, fail, one_line
from tdml.ledger.artifacts import ArtifactStore
from tdml.members.admission import Admitted, open_roster
from tdml.members.own_key import named_identity
from tdml.members.rendezvous import Rendezvous
from tdml.members.roster import COORDINATOR_NAME, BanList, Roster, read_roster
from tdml.members.sessions import Sessions
from tdml.monitor.run_folder import RunFolder
from tdml.monitor.terminal import Terminal
from tdml.node.worker import METHODS
from tdml.protocol.names import node_names
from tdml.rehearsal.timing import with_microbatches
from tdml.rewards.deterrence import warning
from tdml.round.checkpoint import Checkpoint, load_last, passed_over
from tdml.round.job import Job
from tdml.round.recorder import Recorder
from tdml.run.coordinator import Coordinator
from tdml.run.end_coordinator import ORDERLY_END_S, conclude, give_up, leave, play_rounds
from tdml.run.interruption import Interruption
from tdml.run.introduction import introduce
from tdml.run.notices import of_model
from tdml.run.open_sessions import open_sessions
from tdml.run.prepare import prepare
from tdml.run.room import check_room, in_words
from tdml.run.start_recorder import (
    banned_keys,
    entries_of,
    job_id,
    stands_at,
    start_recorder,
    terms_of,
)
from tdml.settings.file import to_yaml
from tdml.settings.schema import Config
from tdml.wire.channel import Caller
from tdml.wire.guard import Guard
from tdml.wire.rpc_world import OPEN_THE_WAY, NotFormed

if TYPE_CHECKING:
    from tdml.monitor.monitor import Monitor

_OTHER_CODE = (
    "going on with other code or data than before ({}): the rounds so far cannot be repeated with "
    "it, and the ledger says so"
)
_OTHER_SAMPLES = (
    "; what they trained on may be held out now: then the model looks better than it is"
)


@dataclass(frozen=True)
class _CoordinatorSetup:
    """What the coordinator has when it answers the ranks. `config` is that of config.yaml."""

    config: Config
    folder: RunFolder
    checkpoint: Checkpoint | None
    job: Job
    bans: BanList
    banned: frozenset[str]  # keys, by this job
    terms: dict
    caller: Caller
    sessions: Sessions
    admitted: Admitted
    recorder: Recorder

    @property
    def resumed(self) -> int | None:
        """The last round that is done already, where a run goes on."""
        return self.checkpoint.round if self.checkpoint else None


def coordinate(config: Config, rendezvous: Rendezvous, interruption: Interruption) -> int:
    """Be the coordinator."""
    with Terminal(config.rounds, config.topology.most) as terminal:
        interruption.defer(0, partial(leave, terminal))
        try:
            ready = _get_ready(config, rendezvous, terminal)
        except (SettingError, OSError) as error:
            where = f"run_dir={config.run_dir}: " if isinstance(error, OSError) else ""
            text = f"{where}{one_line(error)}"
            rendezvous.end_with(text)
            return fail(text)
        except Exception as error:
            rendezvous.end_with(f"the coordinator failed: {one_line(error)}")
            raise
        try:
            ready = replace(ready, admitted=ready.sessions.begin(ready.admitted))
            return _lead(rendezvous, ready, terminal, interruption)
        except SettingError as error:
            return fail(str(error))
        finally:
            ready.recorder.close()


def _get_ready(config: Config, rendezvous: Rendezvous, terminal: Terminal) -> _CoordinatorSetup:
    """Find whatever is wrong before any training, and let the ranks in.

    Raises:
        SettingError, OSError: something is.
    """
    if rendezvous.begun(config.run_dir) and not config.resume:
        config = replace(config, resume="auto")
    folder = RunFolder(config)
    run = folder.path
    checkpoint = _last_checkpoint(config, folder.checkpoints)
    # without a checkpoint what lies there is moved aside
    written = entries_of(run) if checkpoint else []
    stood = stands_at(run, written, checkpoint)
    if checkpoint is not None:
        if damaged := passed_over(folder.checkpoints, checkpoint.round):
            terminal.say(damaged, "yellow")
        if lost := folder.rewind(checkpoint.round, checkpoint.metrics, stood):
            terminal.say(lost, "yellow")
    given = read_roster(config.identity.roster, node_names(config.topology))
    bans = BanList(config.identity.ban_list)
    identity = named_identity(config.identity.folder, COORDINATOR_NAME)
    source = load_source(config)
    complete = with_microbatches(folder.config, source)
    if config.ledger.artifacts:
        ArtifactStore(config.ledger.artifacts).put(to_yaml(complete).encode())
    job = prepare(complete, source, checkpoint)
    check_room(complete, job.needs)
    terms = terms_of(complete, job, identity)
    folder.begin(complete)
    rendezvous.begin(config.run_dir)
    kept_out = bans.keys | banned_keys(written)
    former = checkpoint.fleet["keys"] if checkpoint else {}
    roster = open_roster(identity.public, given, kept_out, _joined(config, former))
    this_job = job_id(run, written, identity.public)
    sessions, admitted = open_sessions(
        config, job, this_job, identity, rendezvous, terminal, roster, kept_out, former
    )
    roster.write(run / "roster.yaml")
    guard = Guard(obey=None)
    guard.install()
    caller = Caller(identity, sessions.at, roster.keys, METHODS, guard.refusals)
    work = sessions.admission.own.work
    if config.data.get("shares"):  # whose samples a file or a function says, not the settings
        work += f"\ndata.shares {digest_of(job.shares)}"
    if other := folder.compare_code(work):
        terminal.say(_warning(other), "yellow")
    recorder = start_recorder(
        run, complete, terms, caller, roster, checkpoint, stood, folder.changed
    )
    folder.write_settings(complete)
    folder.write_code(work)
    folder.write_facts(source.train)
    # of what was banned right before the coordinator died only the ban list knows
    banned = banned_keys(written) | bans.of(this_job)
    return _CoordinatorSetup(
        complete, folder, checkpoint, job, bans, banned, terms, caller, sessions, admitted, recorder
    )


def _warning(others: Sequence[str]) -> str:
    """What is said of a run that goes on with other code or data: the names of these."""
    other_samples = any(name.startswith(("data.training_", "data.test_")) for name in others)
    return _OTHER_CODE.format(", ".join(others)) + _OTHER_SAMPLES * other_samples


def _lead(
    rendezvous: Rendezvous, ready: _CoordinatorSetup, terminal: Terminal, interruption: Interruption
) -> int:
    """Lead the ranks through the job; the exit status."""
    from tdml.monitor.monitor import Monitor

    first_round = (ready.resumed or 0) + 1
    monitor = Monitor(ready.config, ready.folder, terminal, first_round)
    fleet = _call_together(ready, monitor, interruption)
    _introduce(ready, terminal)
    coordinator = Coordinator(
        ready.job, fleet, ready.sessions, monitor, ready.recorder, ready.checkpoint, ready.banned
    )
    status = 1
    interruption.defer(ORDERLY_END_S, partial(give_up, coordinator))
    try:
        reason, status = play_rounds(coordinator)
    finally:
        fleet.stop(status)
    status = conclude(coordinator, terminal, reason, status)
    with suppress(dist.DistError):  # its agent is gone
        _send_home(rendezvous, ready, fleet, status)
    return status


def _call_together(
    ready: _CoordinatorSetup, monitor: "Monitor", interruption: Interruption
) -> RpcFleet:
    """The fleet of those that were admitted.

    Raises:
        NotFormed: none of them can be reached.
    """
    caller, admitted, roster = ready.caller, ready.admitted, ready.sessions.admission.roster
    keep_ban = partial(_keep_ban, ready.bans, roster, caller.at.job, monitor)

    def meanwhile() -> None:
        interruption.check()
        monitor.terminal.waiting(fleet.waiting)

    fleet = RpcFleet(
        ready.config,
        ready.job.plan,
        admitted,
        monitor.tell,
        caller,
        roster,
        keep_ban,
        meanwhile,
        state_bytes=4 * max(state.size for state in ready.job.states),  # of float32
    )
    silent = [*admitted.absent, *fleet.greet()]
    ready.sessions.note(admitted, silent)
    if not any(node.usable for node in fleet.nodes.values()):
        raise NotFormed(f"no node of the job can be reached: {OPEN_THE_WAY}")
    for name in silent:
        monitor.tell(f"{name} has not come to the session, and is left out: {OPEN_THE_WAY}", "")
    return fleet


def _introduce(ready: _CoordinatorSetup, terminal: Terminal) -> None:
    """Say what runs here, and what its user should know before the first round."""
    job, folder, roster = ready.job, ready.folder, ready.sessions.admission.roster
    introduce(ready.config, folder, ready.resumed, ready.admitted.backend, roster, terminal)
    terminal.say(in_words(job.needs), "dim")
    for notice in of_model(job, folder.config.topology):
        terminal.say(notice, "dim")
    if job.audits and (text := warning(ready.terms)):
        terminal.say(text, "yellow")


def _send_home(
    rendezvous: Rendezvous, ready: _CoordinatorSetup, fleet: RpcFleet, status: int
) -> None:
    """Tell the ranks that it is over, those that are lost and those that were refused too."""
    there = {name for name, node in fleet.nodes.items() if not node.dead}
    started = enumerate(node_names(ready.config.topology), start=1)
    lost = [rank for rank, name in started if name not in there]
    refused = [each.visit for each in ready.admitted.refused]
    rendezvous.end(status, ready.sessions.at, ready.caller.identity, lost, refused)


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


def _joined(config: Config, former: Mapping[str, str]) -> dict[str, str]:
    """Of the keys by name of an earlier part of the run those of the nodes that joined it."""
    return {name: key for name, key in former.items() if name not in node_names(config.topology)}


def _keep_ban(
    bans: BanList, roster: Roster, job: str, monitor: "Monitor", name: str, reason: str
) -> None:
    """Add a node's key to the ban list; without that the run goes on, which it is banned from."""
    try:
        bans.add(roster.keys[name], name, reason, job)
    except (OSError, SettingError) as error:
        monitor.tell(
            f"the key of {name} could not be added to identity.ban_list: {one_line(error)}", ""
        )
