"""Both ends of a channel in one process, for tests."""

from typing import Any

from tdml.node.worker import METHODS
from tdml.protocol.identity import Identity
from tdml.wire.channel import Caller, Listener, Session
from tdml.wire.guard import Refusals

AT = Session("job", "session")


class Pair:
    """The coordinator and two nodes, of which "a" answers `result` to every order and keeps the
    orders."""

    def __init__(self, result: Any = None) -> None:
        self.coordinator, self.a, self.b = Identity.new(), Identity.new(), Identity.new()
        self.result, self.done, self.refusals = result, [], Refusals()
        keys = {"coordinator": self.coordinator.public, "a": self.a.public, "b": self.b.public}
        self.caller = Caller(self.coordinator, AT, keys, METHODS)
        self.listener = self.listen(AT)

    def listen(self, at: Session, node: str = "a") -> Listener:
        """The end of a node that holds the key of "a"."""
        return Listener(
            self.a, at, node, self.coordinator.public, METHODS, self._carry_out, self.refusals
        )

    def ask(self, method: str, *arguments: Any) -> Any:
        """An order, there and back."""
        counter, order = self.caller.order("a", method, arguments)
        answer = self.listener.obey(order.header, order.tensors, order.signature)
        return self.caller.read("a", counter, method, answer)

    def _carry_out(self, method: str, arguments: tuple) -> Any:
        self.done.append((method, arguments))
        return self.result
