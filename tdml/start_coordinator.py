"""The coordinator's life: getting ready, the rounds, and what a run leaves however it ends."""

import signal
import time
from types import FrameType

from tdml.cluster.devices import choose_backend
from tdml.cluster.fleet import Fleet
from tdml.cluster.lobby import Answer, Card, Lobby
from tdml.cluster.topology import COORDINATOR
from tdml.cluster.wire import start_rpc
from tdml.config import Config, fingerprint
from tdml.coordinator import Coordinator, NoReplicaLeft
from tdml.data import source as data
from tdml.errors import SettingError, fail, one_line
from tdml.job import prepare
from tdml.monitor.run_folder import RunFolder
from tdml.monitor.terminal import LEGEND, Terminal, closing_lines
from tdml.training.checkpoint import load_last

_WAITING_SAID_EVERY_S = 15.0


def coordinate(config: Config, lobby: Lobby) -> int:
    """Be the coordinator."""
    signal.signal(signal.SIGTERM, _interrupt)
    signal.signal(signal.SIGINT, _interrupt)
    with Terminal(config.rounds, config.topology.replicas) as terminal:
        try:
            folder = RunFolder(config)
            checkpoint = load_last(folder.checkpoints) if config.resume else None
            if checkpoint is not None:
                folder.rewind(checkpoint.round, checkpoint.metrics)
            job = prepare(config, data.load(config.data, config.seed), checkpoint)
            lobby.prepared()
            lobby.enter(Card(fingerprint(config), owns_gpu=False))
            backend = _check_cards(lobby, terminal, config)
        except (SettingError, OSError, KeyboardInterrupt) as error:
            text = f"run_dir={config.run_dir}: {error}" if isinstance(error, OSError) else one_line(error)
            lobby.answer(Answer(error=text))
            return fail(text)
        except Exception as error:
            lobby.answer(Answer(error=f"the coordinator failed: {one_line(error)}"))
            raise
        lobby.answer(Answer())
        from tdml.monitor.monitor import Monitor  # figures and TensorBoard: seconds, once all is known to be sound

        start_rpc(lobby, config)
        monitor = Monitor(config, folder, terminal, first_round=checkpoint.round + 1 if checkpoint else 1)
        fleet = Fleet(config, job.plan, backend, monitor.tell)
        _introduce(config, folder, terminal, backend, checkpoint.round if checkpoint else 0)
        try:
            return _run(Coordinator(job, fleet, monitor, checkpoint), terminal)
        finally:
            fleet.stop()


def _run(coordinator: Coordinator, terminal: Terminal) -> int:
    """Run the rounds and write what a run leaves, however it ends."""
    fleet, monitor, rounds = coordinator.fleet, coordinator.monitor, coordinator.job.config.rounds
    reason, status = f"all {rounds} rounds done", 0
    try:
        coordinator.run()
    except NoReplicaLeft as error:
        reason, status = str(error), 1
    except KeyboardInterrupt:
        reason, status = f"interrupted after round {coordinator.last_round}: go on with resume=true", 1
    except OSError as error:
        reason, status = (
            f"run_dir={monitor.folder.path} cannot be written: {one_line(error)}. Go on with resume=true",
            1,
        )
    from tdml.monitor.report import write_report

    try:
        model = "model.pt" if status == 0 else None
        monitor.finish(reason, fleet.banned, fleet.dead, model)
        report = coordinator.last_round > 0 and bool(write_report(monitor.folder.path))
    except OSError as error:
        return fail(f"{reason}; summary.json cannot be written: {one_line(error)}")
    terminal.say("")
    if status:
        fail(reason)
    else:
        banned = ", ".join(fleet.banned)
        terminal.say(f"{reason}; banned: {banned or 'none'}", "bold")
    for line in closing_lines(monitor.folder.path, report, status == 0):
        terminal.say(line)
    return status


def _check_cards(lobby: Lobby, terminal: Terminal, config: Config) -> str:
    """Wait for all ranks; the backend that connects the stages.

    Raises:
        SettingError: a rank cannot take part, or was started with other settings.
    """
    said = time.monotonic()

    def waiting(arrived: int) -> None:
        nonlocal said
        text = f"waiting for ranks: {arrived} of {lobby.world_size} are here"
        terminal.status(lambda: text)
        if time.monotonic() - said > _WAITING_SAID_EVERY_S:
            terminal.say(text, "cyan")
            said = time.monotonic()

    cards = lobby.gather(waiting)
    for rank, card in enumerate(cards):
        if card.error:
            raise SettingError(card.error)
        if card.fingerprint != cards[COORDINATOR].fingerprint:
            raise SettingError(f"rank {rank} was started with other settings than rank 0: give all of them the same")
    return choose_backend(all(card.owns_gpu for card in cards[1:]))


def _introduce(config: Config, folder: RunFolder, terminal: Terminal, backend: str, resumed: int) -> None:
    topology = config.topology
    if folder.moved:
        terminal.say(f"an earlier run in {folder.path} was moved to {folder.moved}", "yellow")
    terminal.say(
        f"{config.name}: replicas {topology.replicas} × stages {topology.stages} + spares {topology.spares}, "
        f"stages connected by {backend}" + (f", going on after round {resumed}" if resumed else ""),
        "bold",
    )
    terminal.say(LEGEND, "dim")


def _interrupt(signum: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # one is enough: the end must not be interrupted itself
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    raise KeyboardInterrupt(signal.Signals(signum).name)
