"""How a run ends, whatever ends it, and what it leaves."""

import os
import traceback
from contextlib import suppress
from signal import Signals

import torch
from torch.distributed import DistError

from tdml.cluster.membership import note_farewells
from tdml.errors import INTERRUPTED, CannotGoOn, SettingError, fail, one_line, running_on
from tdml.monitor.terminal import Terminal, closing_lines
from tdml.run.coordinator import Coordinator

_NO_MEMORY = "can't allocate memory"  # torch has no class of its own for it on CPUs
ORDERLY_END_S = 25.0  # that an interrupted run may take for it: torchrun kills after 30


def play_rounds(coordinator: Coordinator) -> tuple[str, int]:
    """Play the rounds; why there are no more of them, and the exit status."""
    try:
        with running_on():
            return coordinator.run(), 0
    except CannotGoOn as error:
        return str(error), 1
    except KeyboardInterrupt:
        return interrupted(coordinator.last_round, _go_on(coordinator)), INTERRUPTED
    except OSError as error:
        go_on = _go_on(coordinator)
        return (
            f"run_dir={coordinator.job.config.run_dir} cannot be written: {one_line(error)}: "
            f"{go_on}",
            1,
        )
    except SettingError as error:
        return f"{one_line(error)}: {_go_on(coordinator)}", 1
    except Exception as error:
        return _failed(error, _go_on(coordinator)), 1


def _go_on(coordinator: Coordinator) -> str:
    return coordinator.monitor.folder.how_to_go_on


def _failed(error: Exception, go_on: str) -> str:
    """What to say of a run whose coordinator has failed: where it did, unless that does not
    matter."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError) or _NO_MEMORY in str(error):
        return f"the coordinator is out of memory: {one_line(error)}: {go_on}"
    with suppress(OSError):  # nobody reads any more
        traceback.print_exc()
    return f"the coordinator failed: {type(error).__name__}: {one_line(error)}: {go_on}"


def conclude(coordinator: Coordinator, terminal: Terminal, reason: str, status: int) -> int:
    """Write what a run leaves, however it has ended; the exit status."""
    from tdml.monitor.monitor import RunEnd
    from tdml.monitor.report import write_report

    fleet, monitor = coordinator.fleet, coordinator.monitor
    with suppress(DistError):  # the store may be gone
        note_farewells(fleet, coordinator.sessions)
    try:
        model = "model.pt" if status == 0 else None
        end = RunEnd(reason, fleet.banned, fleet.dead, fleet.left, model, coordinator.notices)
        monitor.finish(end)
        report = coordinator.last_round > 0 and bool(write_report(monitor.folder.path))
    except (OSError, SettingError) as error:
        return fail(f"{reason}; its results cannot be written: {one_line(error)}", status or 1)
    terminal.say("")
    if status:
        fail(reason)
    else:
        gone = {"dead": fleet.dead, "left": fleet.left}
        said = [f"{how}: {', '.join(names)}" for how, names in gone.items() if names]
        banned = f"banned: {', '.join(fleet.banned) or 'none'}"
        terminal.say("; ".join([reason, banned, *said]), "bold")
    for line in closing_lines(monitor.folder.path, report, status == 0):
        terminal.say(line)
    return status


def interrupted(last_round: int, go_on: str) -> str:
    """What to say of a run that was interrupted, and what to do next."""
    done = f"after round {last_round}" if last_round else "before the first round was done"
    return f"interrupted {done}: {go_on}"


def leave(terminal: Terminal, number: Signals) -> None:
    """Nothing is at stake yet. The other ranks hear it from their agents, or find the store
    gone."""
    try:
        terminal.close()
        fail(f"interrupted before the rounds began ({number.name})")
    finally:
        os._exit(INTERRUPTED)


def give_up(coordinator: Coordinator, number: Signals) -> None:
    """The end takes too long; what counts is written after every round."""
    text = (
        f"{interrupted(coordinator.last_round, _go_on(coordinator))} (the end took longer than "
        f"{ORDERLY_END_S:.0f} s: no report)"
    )
    os._exit(fail(text, INTERRUPTED))
