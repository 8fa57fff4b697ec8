"""One order to several nodes, without processes: what comes of answers, failures, silence and
lateness."""

import threading
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch

from tdml.node.worker import METHODS
from tdml.protocol.identity import Identity
from tdml.protocol.orders import Failure, ReplicaLost
from tdml.wire import exchange as module
from tdml.wire.channel import Caller, Listener, Session
from tdml.wire.exchange import Exchange, Peer, Watch, _causes, _outcome
from tdml.wire.guard import Envelope, Refusals

pytestmark = pytest.mark.timeout(30)

AT = Session("job", "session")
SILENT = object()  # the answer of one whose connection is lost


class Nodes:
    """Three nodes. `deeds` has by stage what a node answers to which method; the others answer 7.
    `heard` has every order, as node and method; `cancelled` is set once anybody was told to give
    up."""

    def __init__(self, deeds: dict[int, Callable[[str], object]], timeout: float) -> None:
        coordinator, identities = Identity.new(), [Identity.new() for _ in range(3)]
        self.nodes = [Peer(f"r4.s{stage}", rank=stage) for stage in range(3)]
        self.heard: list[tuple[str, str]] = []
        self.cancelled, self.never = threading.Event(), threading.Event()
        self.silent: set[int] = set()  # stages that do not even answer that they gave up
        keys = {
            node.name: identity.public
            for node, identity in zip(self.nodes, identities, strict=True)
        }
        self.exchange = Exchange(4, self.nodes, timeout, Caller(coordinator, AT, keys, METHODS))
        self.deeds = deeds
        self._listeners = [
            Listener(
                own, AT, node.name, coordinator.public, METHODS, self._obeying(node), Refusals()
            )
            for own, node in zip(identities, self.nodes, strict=True)
        ]

    def send(self, rank: int, order: Envelope, timeout: float) -> torch.futures.Future:
        """In place of RPC."""
        done: torch.futures.Future = torch.futures.Future()
        threading.Thread(target=self._answer, args=(rank, order, done), daemon=True).start()
        return done

    def _answer(self, rank: int, order: Envelope, done: torch.futures.Future) -> None:
        try:
            envelope = self._listeners[rank].obey(order.header, order.tensors, order.signature)
            # what torch's futures return: see the guard
            done.set_result(SimpleNamespace(envelope=envelope))
        except ConnectionError as error:
            done.set_exception(RuntimeError(str(error)))

    def _obeying(self, node: Peer) -> Callable[[str, tuple], object]:
        def obey(method: str, arguments: tuple) -> object:
            self.heard.append((node.name, method))
            if method == "cancel":
                self.cancelled.set()
                assert node.rank not in self.silent or self.never.wait(25)
                return None
            answer = self.deeds.get(node.rank, lambda method: 7)(method)
            if answer is SILENT:
                raise ConnectionError("eof")
            return answer

        return obey


@pytest.fixture
def nodes_of(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Nodes]:
    def make(deeds: dict[int, Callable[[str], object]], timeout: float = 20.0) -> Nodes:
        made = Nodes(deeds, timeout)
        monkeypatch.setattr(module, "send", made.send)
        return made

    return make


def test_the_answers_come_by_stage(nodes_of: Callable[..., Nodes]) -> None:
    nodes = nodes_of({0: lambda _: 10, 2: lambda _: 30})
    assert nodes.exchange.ask("progress", [()] * 3) == [10, 7, 30]
    assert nodes.heard.count(("r4.s1", "progress")) == 1
    assert not nodes.cancelled.is_set()


def test_a_failure_ends_the_order_for_all_and_nobody_is_dead(
    nodes_of: Callable[..., Nodes],
) -> None:
    nodes = nodes_of({})
    nodes.deeds[1] = lambda _: Failure("r9.s9", "no room", "trace")
    nodes.deeds[2] = lambda _: Failure("", "gave up", "") if nodes.cancelled.wait(20) else 7
    with pytest.raises(ReplicaLost) as caught:
        nodes.exchange.ask("progress", [()] * 3)
    assert caught.value.replica == 4
    assert set(str(caught.value).split("; ")) == {"r4.s1: no room", "r4.s2: gave up"}
    assert (caught.value.silent, caught.value.detail) == ((), "trace")
    assert [node.dead for node in nodes.nodes] == [False] * 3
    assert {name for name, method in nodes.heard if method == "cancel"} == {
        "r4.s0",
        "r4.s1",
        "r4.s2",
    }


def test_an_error_is_told_without_its_place_in_a_library() -> None:
    future: torch.futures.Future = torch.futures.Future()
    future.set_exception(RuntimeError("eof (this error originated at uv/connection_impl.cc:132)"))
    assert _outcome(future, lambda envelope: envelope).message == "no answer (eof)"


def test_what_an_answer_raises_is_cut_before_anything_is_looked_for() -> None:
    """torch passes on whatever a node says that it has raised."""
    future: torch.futures.Future = torch.futures.Future()
    future.set_exception(RuntimeError(" (this error originated at " * 20_000))
    assert len(_outcome(future, lambda envelope: envelope).message) < 600


def test_who_has_not_answered_in_time_is_told_in_seconds() -> None:
    future: torch.futures.Future = torch.futures.Future()
    future.set_exception(
        RuntimeError("RPCErr:1:RPC ran for more than set timeout (23500 ms) and will now be marked")
    )
    assert _outcome(future, lambda envelope: envelope).message == "no answer for 23.5 s"


def test_a_lost_connection_is_a_dead_node(nodes_of: Callable[..., Nodes]) -> None:
    nodes = nodes_of({0: lambda _: SILENT})
    with pytest.raises(ReplicaLost, match=r"r4\.s0: no answer \(eof\)"):
        nodes.exchange.ask("progress", [()] * 3)
    assert [node.dead for node in nodes.nodes] == [True, False, False]
    assert ("r4.s0", "cancel") not in nodes.heard


def test_who_does_not_even_give_up_in_time_is_dead(nodes_of: Callable[..., Nodes]) -> None:
    never = threading.Event()
    nodes = nodes_of({0: lambda _: Failure("", "no", ""), 2: lambda _: never.wait(20)}, timeout=2.0)
    with pytest.raises(ReplicaLost):
        nodes.exchange.ask("progress", [()] * 3)
    never.set()
    assert [node.dead for node in nodes.nodes] == [False, False, True]


def test_who_is_late_is_told_to_give_up(nodes_of: Callable[..., Nodes]) -> None:
    """The steps that are done are heard of while an order is under way."""
    nodes, steps = nodes_of({}), []
    for stage in range(3):
        nodes.deeds[stage] = lambda method: (
            5 if method == "progress" else nodes.cancelled.wait(20) and None
        )
    watch = Watch(nodes.exchange, lambda: "late" if len(steps) > 3 else None, steps.append)
    with pytest.raises(ReplicaLost, match="r4: late"):
        nodes.exchange.ask("shown", [()] * 3, watch)
    assert set(steps) == {5}
    assert [node.dead for node in nodes.nodes] == [False] * 3


def test_who_is_lost_while_it_is_waited_for_is_dead(nodes_of: Callable[..., Nodes]) -> None:
    nodes = nodes_of({})
    for stage in range(3):
        nodes.deeds[stage] = lambda method: (
            5 if method == "progress" else nodes.cancelled.wait(20) and None
        )
    nodes.deeds[1] = lambda method: (
        SILENT if method == "progress" else nodes.cancelled.wait(20) and None
    )
    with pytest.raises(ReplicaLost, match=r"r4\.s1: no answer"):
        nodes.exchange.ask(
            "shown", [()] * 3, Watch(nodes.exchange, lambda: None, lambda steps: None)
        )
    assert [node.dead for node in nodes.nodes] == [False, True, False]


@pytest.mark.parametrize("first", ["silence", "failure"])
def test_who_has_fallen_silent_is_waited_for_once(
    nodes_of: Callable[..., Nodes], first: str
) -> None:
    """Two nodes of a host that is cut off, and a neighbour that notices before or after RPC does:
    once their silence is known, nothing else that they were sent is waited for."""
    nodes = nodes_of({}, timeout=1000.0)

    def train(method: str) -> object:
        nodes.cancelled.wait(20)
        return Failure("", "gave up", "")

    def notice(method: str) -> object:
        return 5 if method == "progress" else Failure("", "timed out", "")

    def silent(method: str) -> object:
        if method != "progress":
            nodes.never.wait(25)
        elif first == "failure":
            nodes.cancelled.wait(20)
        return SILENT

    nodes.silent = {1, 2}
    nodes.deeds = {0: notice if first == "failure" else train, 1: silent, 2: silent}
    with pytest.raises(ReplicaLost, match=r"r4\.s1: no answer") as caught:
        nodes.exchange.ask(
            "shown", [()] * 3, Watch(nodes.exchange, lambda: None, lambda steps: None)
        )
    nodes.never.set()
    assert {said.split(":")[0] for said in str(caught.value).split("; ")} == {
        "r4.s0",
        "r4.s1",
        "r4.s2",
    }
    assert [node.dead for node in nodes.nodes] == [False, True, True]
    assert caught.value.silent == ("r4.s1", "r4.s2")


def test_whose_answer_is_missing_is_known(nodes_of: Callable[..., Nodes]) -> None:
    """While it trains a node owes signs of life alone."""
    nodes, free = nodes_of({}), threading.Event()

    def ask(*order: object) -> threading.Thread:
        thread = threading.Thread(target=nodes.exchange.ask, args=order)
        thread.start()
        return thread

    nodes.deeds[1] = lambda method: free.wait(20) and 7
    waiting = ask("progress", [()] * 3)
    _wait_until(lambda: [bool(node.awaited) for node in nodes.nodes] == [False, True, False])
    free.set()
    waiting.join(20)
    free.clear()
    steps: list[int] = []
    nodes.deeds = dict.fromkeys(
        range(3), lambda method: 5 if method == "progress" else free.wait(20) and None
    )
    waiting = ask(
        "load", [(torch.zeros(1),)] * 3, Watch(nodes.exchange, lambda: None, steps.append)
    )
    _wait_until(lambda: len(steps) > 6 and not any(node.awaited for node in nodes.nodes))
    free.set()
    waiting.join(20)
    assert not waiting.is_alive()
    assert set(steps) == {5}


def _wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_what_followed_from_another_failure_is_not_said() -> None:
    effect = Failure("r1.s0", "RuntimeError: gloo/transport/tcp: Connection closed by peer", "")
    cause = Failure("r1.s1", "planted", "")
    assert _causes([effect, cause]) == [cause]
    assert _causes([effect]) == [effect]


def test_an_order_to_one_node_is_that_nodes_alone(nodes_of: Callable[..., Nodes]) -> None:
    nodes = nodes_of({1: lambda _: 9})
    nodes.nodes[2].dead = True
    assert nodes.exchange.ask_one(1, "progress") == 9
    assert nodes.heard == [("r4.s1", "progress")]
    assert not nodes.exchange.failed


def test_who_fails_in_what_it_does_by_itself_is_named(nodes_of: Callable[..., Nodes]) -> None:
    nodes = nodes_of({1: lambda _: Failure("r4.s1", "no room", "trace")})
    with pytest.raises(ReplicaLost, match=r"^r4\.s1: no room$") as caught:
        nodes.exchange.ask_one(1, "progress")
    assert (caught.value.silent, caught.value.detail) == (("r4.s1",), "trace")
    assert not any(node.dead for node in nodes.nodes)


@pytest.mark.parametrize("stages", [(2,), (0, 1, 2)])
def test_who_is_dead_already_is_not_asked_again(
    nodes_of: Callable[..., Nodes], stages: tuple[int, ...]
) -> None:
    """The living nodes of a replica are asked for what they hold when another of it is gone."""
    nodes = nodes_of({})
    nodes.nodes[2].dead = True
    with pytest.raises(ReplicaLost, match=r"^r4\.s2: it no longer answers$") as caught:
        nodes.exchange.ask_one(2, "progress") if stages == (2,) else nodes.exchange.ask(
            "progress", [()] * 3
        )
    assert caught.value.silent == ("r4.s2",)
    assert nodes.heard == []
    assert nodes.exchange.failed
