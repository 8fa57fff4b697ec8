"""A node that is let in to every session, and comes to none. Started as a process."""

import sys

from tdml import config as settings
from tdml.cluster.cards import Card
from tdml.cluster.lobby import Lobby
from tdml.config_file import fingerprint
from tdml.data.contents import contents_of
from tdml.data.source import load_source
from tdml.identity import Identity


def main(overrides: list[str]) -> None:
    """Answer every call."""
    config = settings.load(overrides)
    lobby, identity = Lobby(None, 0), Identity.new()
    held = contents_of(load_source(config), config.seed)
    while True:
        session = lobby.await_call(None)
        card = Card(fingerprint(config), "", held, visit=lobby.visit)
        lobby.enter(card.signed(identity, session))
        lobby.await_decision()


if __name__ == "__main__":
    main(sys.argv[1:])
