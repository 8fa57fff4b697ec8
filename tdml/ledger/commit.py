"""What a node signs when it commits to its round."""

from typing import TYPE_CHECKING

from tdml.protocol.statement import Statement

if TYPE_CHECKING:
    from tdml.protocol.orders import Commitment


def commit_statement(
    job: str, round_number: int, key: str, node: str, commitment: "Commitment"
) -> Statement:
    """The statement of the node `node`, whose public key is `key`."""
    return Statement(
        job,
        round_number,
        "commit",
        key,
        {"node": node, "update": commitment.update, "states": commitment.states},
    )
