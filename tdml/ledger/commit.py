"""What a node signs when it commits to its round."""

from typing import TYPE_CHECKING

from tdml.protocol.statement import Statement

if TYPE_CHECKING:
    from tdml.protocol.orders import Commitment


def commit_statement(
    job: str, round_number: int, play: str, key: str, node: str, commitment: "Commitment"
) -> Statement:
    """The statement of the node `node`, whose public key is `key`. `play` is the nonce of the order
    to train: a round that is played once more starts from other weights."""
    body = {
        "node": node,
        "play": play,
        "update": commitment.update,
        "states": commitment.states,
    }
    return Statement(job, round_number, "commit", key, body)
