"""A short order to many nodes at once, of which some may not be there."""

import logging
from collections.abc import Iterable

from tdml.wire.channel import Caller
from tdml.wire.endpoint import send
from tdml.wire.exchange import Peer

log = logging.getLogger(__name__)


def ask_all(
    nodes: Iterable[Peer], caller: Caller, method: str, arguments: tuple, seconds: float
) -> list[Peer]:
    """Those that do not answer within some seconds, whatever the answer is."""
    answers, silent = [], []
    for node in nodes:
        _, order = caller.order(node.name, method, arguments)
        try:
            answers.append((node, send(node.rank, order, timeout=seconds)))
        except RuntimeError as error:
            log.debug("%s: %s", node.name, error)
            silent.append(node)
    for node, answer in answers:
        try:
            answer.wait()
        except RuntimeError as error:
            log.debug("%s: %s", node.name, error)
            silent.append(node)
    return silent
