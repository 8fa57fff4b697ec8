"""The first lines of a run."""

import os

from tdml.members.roster import Roster
from tdml.monitor.record import LEGEND
from tdml.monitor.run_folder import RunFolder
from tdml.monitor.terminal import Terminal
from tdml.settings.schema import Config, Topology
from tdml.wire.interface import interface_towards


def introduce(
    config: Config,
    folder: RunFolder,
    resumed: int | None,
    backend: str,
    roster: Roster,
    terminal: Terminal,
) -> None:
    """Say what runs here, going on after which round, if it does, and who may come.

    Args:
        backend: by which the stages of a replica are connected.
    """
    topology = config.topology
    if folder.moved:
        terminal.say(f"an earlier run in {folder.path} was moved to {folder.moved}", "yellow")
    terminal.say(
        f"{config.name}: replicas {_growth(topology)} × stages {topology.stages} + spares "
        f"{topology.spares}, stages connected by {backend}"
        + (f", going on after round {resumed}" if resumed is not None else ""),
        "bold",
    )
    if resumed is not None and config.sync.keeps_inner_state:
        text = "sync.inner_state=kept: inner optimizers begin anew: no checkpoint has their states"
        terminal.say(text, "dim")
    for name, reason in roster.refused.items():
        terminal.say(f"{name} is refused: {reason}", "yellow")
    if not roster.given:
        keys = ", ".join(f"{name} {key[:8]}" for name, key in roster.keys.items())
        terminal.say(f"keys trusted at first contact: {keys}", "dim")
    if not config.own_data:  # where nobody can take an owner's place
        store = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        text = f"a further node: tdml join {store} and the same settings{_only_here()}"
        terminal.say(text, "dim")
    terminal.say("   ".join(LEGEND), "dim")


def _only_here() -> str:
    """What to do where no other machine reaches the job's store."""
    if interface_towards(os.environ["MASTER_ADDR"]) is not None:
        return ""
    return " (from other machines: start the job by torchrun with --master-addr, see two-machines)"


def _growth(topology: Topology) -> str:
    """How many replicas there are to be, and what they may start with and grow to."""
    more = [
        f"{word} {number}"
        for word, number in (("from", topology.fewest), ("up to", topology.most))
        if number != topology.replicas
    ]
    return f"{topology.replicas}" + (f" ({', '.join(more)})" if more else "")
