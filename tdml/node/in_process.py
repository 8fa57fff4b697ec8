"""The pipeline of a replica all of whose nodes are in one process: its stages compute one after the
other. The results are bit for bit those of a pipeline of processes."""

from collections.abc import Sequence

from tdml.node import lockstep
from tdml.node.node import Node
from tdml.protocol.orders import (
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Repetition,
    TrainOrder,
    TrainReport,
)


class InProcessPipeline:
    """The nodes of one replica, by stage."""

    def __init__(self, nodes: Sequence[Node]) -> None:
        self.nodes = list(nodes)
        self._stages = [node.stage for node in nodes]

    def train(self, order: TrainOrder) -> list[TrainReport]:
        """Take a round's steps. Returns the reports by stage."""
        steps = min(node.planned(order) for node in self.nodes)
        losses = self._take([node.training(order, steps) for node in self.nodes])
        if order.bounds:
            self._agree()
        return [node.trained(losses) for node in self.nodes]

    def repeat(self, order: RepeatOrder) -> list[Repetition]:
        """Repeat steps. Returns the results by stage."""
        self._take([node.repeating(order) for node in self.nodes])
        self._agree()
        return [node.repeated() for node in self.nodes]

    def evaluate(self, order: EvaluateOrder) -> list[Evaluation]:
        """Take the batches of an evaluation. Returns the results by stage."""
        for batches in zip(*(node.evaluating(order) for node in self.nodes), strict=True):
            passing = [batch.passing for batch in batches]
            lockstep.predict(self._stages, batches[0].inputs, batches[-1].observe, passing)
        if order.log:
            self._agree()
        return [node.evaluated() for node in self.nodes]

    def _take(self, steps: Sequence) -> list[float]:
        return [
            lockstep.train_step(
                self._stages, [step.given for step in taken], [step.passing for step in taken]
            )
            for taken in zip(*steps, strict=True)
        ]

    def _agree(self) -> None:
        offers = [
            {peer: node.agreement.offer(peer) for peer in node.agreement.peers}
            for node in self.nodes
        ]
        for stage, node in enumerate(self.nodes):
            node.agreement.accept({peer: offers[peer][stage] for peer in node.agreement.peers})
