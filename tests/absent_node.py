"""A node that is let in to every session, and comes to none. Started as a process."""

import sys

from tdml import config as settings
from tdml.data.contents import contents_of
from tdml.data.source import load_source
from tdml.members.cards import Card
from tdml.members.rendezvous import Rendezvous
from tdml.protocol.identity import Identity
from tdml.settings.code import code_of
from tdml.settings.file import fingerprint


def main(overrides: list[str]) -> None:
    """Answer every call."""
    config = settings.load(overrides)
    rendezvous, identity = Rendezvous(None, 0), Identity.new()
    held = contents_of(load_source(config), config.seed)
    while True:
        session = rendezvous.await_call(None)
        card = Card(fingerprint(config), "", held, code_of(config), visit=rendezvous.visit)
        rendezvous.enter(card.signed(identity, session))
        rendezvous.await_decision(None)


if __name__ == "__main__":
    main(sys.argv[1:])
