"""A node that is let in to every session, each time under another key, and comes to none: it says
where it is reached, and answers nothing there; with `absent` it does not even say that. Started as
a process."""

import socket
import sys

import torch.distributed as dist

from tdml import config as settings
from tdml.data.contents import contents_of
from tdml.data.source import load_source
from tdml.members.cards import Card
from tdml.members.rendezvous import Rendezvous
from tdml.protocol.identity import Identity
from tdml.protocol.names import rpc_name
from tdml.settings.code import code_of
from tdml.settings.file import fingerprint


def main(kind: str, overrides: list[str]) -> None:
    """Answer every call."""
    config = settings.load(overrides)
    rendezvous = Rendezvous(None, 0)
    held = contents_of(load_source(config), config.seed)
    with socket.create_server(("127.0.0.1", 0), backlog=100) as deaf:
        while True:
            session = rendezvous.await_call(None)
            card = Card(fingerprint(config), "", held, code_of(config), visit=rendezvous.visit)
            signed = card.signed(Identity.new(), session)
            rendezvous.enter(signed)
            decision = rendezvous.await_decision(None)
            place = decision.place(signed) if decision else None
            if kind == "deaf" and place is not None:
                told = dist.PrefixStore(f"rpc/{session}", rendezvous.store)
                told.set(f"addrs/{rpc_name(place)}", f"uv://127.0.0.1:{deaf.getsockname()[1]}")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
