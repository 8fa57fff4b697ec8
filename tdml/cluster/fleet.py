"""All nodes of a job: which of them are banned or dead, and which replicas can work."""

from collections.abc import Callable, Collection, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import TypeVar

from tdml.cluster.patience import Patience
from tdml.cluster.pauses import Pauses
from tdml.cluster.replica import RpcReplica
from tdml.cluster.slots import Slots
from tdml.members.admission import Admitted
from tdml.members.roster import Roster
from tdml.members.waiting import listed, waiting_for
from tdml.models.plan import Plan
from tdml.node.devices import usual_threads
from tdml.protocol.orders import ReplicaLost
from tdml.round.fleet import Replica
from tdml.settings.schema import Config
from tdml.wire.ask_all import ask_all
from tdml.wire.channel import Caller
from tdml.wire.exchange import Peer

_T = TypeVar("_T")
_R = TypeVar("_R", bound=Replica)

# A node that waits in vain for its neighbour notices after sync.timeout. The coordinator waits a
# little longer, so that it hears this from the living and does not take them for dead.
_GRACE_S = 15.0
_GREETING_S, _FAREWELL_S = 10.0, 5.0  # that nodes may take to answer
_TICK_S = 0.25
_ATTEMPTS = 2  # in a round, to form replicas: each may take as long as a silent node is waited for


class RpcFleet:
    """The nodes, which are processes, and the replicas that they form: `tdml.round.fleet.Fleet`.

    Args:
        tell: is told, in one line, of every replica that is lost and every spare that takes a slot,
            with the failure's stack trace if there is one.
        on_ban: is told the name of every node that is banned, and why.
        meanwhile: is called several times a second while replicas are waited for; what it raises
            ends the waiting.
        state_bytes: of the largest stage's training state.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        admitted: Admitted,
        tell: Callable[[str, str], None],
        caller: Caller,
        roster: Roster,
        on_ban: Callable[[str, str], None],
        meanwhile: Callable[[], None],
        state_bytes: int,
    ) -> None:
        self._config, self._plan, self._backend = config, plan, admitted.backend
        self._tell, self.job_id = tell, caller.at.job
        self.caller, self.roster, self._on_ban, self.meanwhile = caller, roster, on_ban, meanwhile
        self.nodes: dict[str, Peer] = {}
        self._generations = [0] * config.topology.most
        self._threads: int | None = None  # that most replicas compute with
        self._members: frozenset[str] = frozenset()  # of the present session
        self._formed: dict[int, RpcReplica] = {}
        self._mustered: dict[int, RpcReplica] = {}  # at the round's start, even if lost since
        self._former: dict[str, str] = {}  # keys by name, from earlier parts of the run
        self.losses: dict[int, str] = {}  # replicas that failed since the last muster, and why
        batch, timeout = config.train.effective_batch_size, config.sync.timeout
        self.patience = Patience(batch, timeout, state_bytes)
        self._pool = ThreadPoolExecutor(max_workers=config.topology.most)
        self._pauses = Pauses(config.sync.timeout)
        self._arrivals = 0
        self.enter(admitted)
        self.nodes |= {name: Peer(name, rank=-1, refused=True) for name in roster.refused}
        self.slots = Slots(config, self.nodes, tell)

    # Which nodes are there

    def enter(self, admitted: Admitted) -> list[str]:
        """Take in the members of a new session. Returns the names of those that were not in the
        last one."""
        came = []
        for name, (rank, card) in admitted.present.items():
            node = self.nodes.setdefault(name, Peer(name, rank))
            if not node.usable or node.visit != card.visit:
                came.append(name)
                self._arrivals += 1
                node.came = self._arrivals
                if node.visit != card.visit:  # a new process gets another chance
                    node.out = False
                # whoever was away, or has started anew, is in no group
                self._formed = {i: r for i, r in self._formed.items() if node not in r.nodes}
            node.rank, node.visit = rank, card.visit
            node.sees_data = card.data is not None
            node.dead = node.left = node.refused = False
            node.awaited.clear()
        for name, node in self.nodes.items():
            node.dead |= name not in admitted.present and not node.refused
        self._dissolve()
        self._members = frozenset(admitted.present)
        return came

    def greet(self) -> list[str]:
        """Call all nodes. Returns the names of those that no call reaches, or that do not answer at
        once: they count as dead."""
        usable = filter(lambda node: node.usable, self.nodes.values())
        silent = ask_all(usable, self.caller, "progress", (), _GREETING_S)
        for node in silent:
            node.dead = True
        return [node.name for node in silent]

    @property
    def has_lost_members(self) -> bool:
        """Whether some members of the session no longer answer."""
        return any(self.nodes[name].dead for name in self._members)

    @property
    def pauses(self) -> int:
        """See `Pauses`."""
        return self._pauses.count

    @property
    def present(self) -> dict[str, str]:
        """The nodes that are expected to answer: keys by name."""
        return {node.name: self.key(node.name) for node in self.nodes.values() if node.usable}

    # Which node has which slot

    def muster(self) -> list[RpcReplica]:
        """The replicas that can work now: vacant slots are filled from the spares, and lost groups
        formed again."""
        self.losses, self._mustered = {}, {}
        for _ in range(_ATTEMPTS):
            self.slots.fill()
            self.slots.grow()
            self._dissolve()
            missing = [index for index in self.slots.replicas if self._can_form(index)]
            if not missing:
                break
            self._threads = usual_threads(replica.kind for replica in self._formed.values())
            self.form(missing)
            # A node that fell silent while its group was formed has left a slot to fill: once, for
            # spares that fall silent, too, cost nothing. A replica that failed with all its nodes
            # alive waits for the next round.
            if all(not node.dead for index in missing for node in self.slots.occupants(index)):
                break
        else:
            self.slots.fill()  # before they are back
        self._mustered = dict(self._formed)
        return [self._formed[index] for index in sorted(self._formed)]

    def form(self, indices: Iterable[int]) -> None:
        """Form the ones among these replicas that are not formed, if all of their nodes answer."""
        given = self._config.sync.timeout + _GRACE_S, self.caller, self.patience
        lost = [index for index in indices if self._can_form(index)]
        self.each(self._join, [RpcReplica(i, self.slots.occupants(i), *given) for i in lost])

    def ban(self, name: str, reason: str) -> None:
        """Exclude a node for the rest of the job. Its replica's group ends."""
        # one that was let in may have proven something, and come to no session
        node = self.nodes.setdefault(name, Peer(name, rank=-1, dead=True))
        if not node.banned:
            node.banned = True
            self._on_ban(name, reason)
        self._dissolve()

    def stand_down(self, name: str) -> bool:
        """Have a spare take a node's slot, if there is one: the node takes no more part."""
        self.nodes[name].out = len(self.slots.spares) > self.slots.vacant
        return self.nodes[name].out

    def give_up(self, names: Iterable[str], reason: str) -> None:
        """Have nodes take no more part until they are started anew, with spares or without."""
        for name in names:
            self.nodes[name].out = True
        self._tell(f"{listed(list(names))} given up: {reason}", "")

    @property
    def banned(self) -> list[str]:
        """Names of the banned nodes."""
        return [node.name for node in self.nodes.values() if node.banned]

    @property
    def dead(self) -> list[str]:
        """Names of the nodes that no longer answer, and have neither left nor been banned."""
        return [n.name for n in self.nodes.values() if n.dead and not (n.left or n.banned)]

    @property
    def left(self) -> list[str]:
        """Names of the nodes that have said goodbye."""
        return [node.name for node in self.nodes.values() if node.left]

    @property
    def waiting(self) -> str:
        """Which nodes an order has been waiting for, if it takes long, in words; "" for none."""
        return waiting_for(self.nodes.values())

    def key(self, name: str) -> str:
        """A node's public key."""
        return self.roster.keys[name] if name in self.roster.keys else self._former[name]

    def visit(self, name: str) -> str:
        """A node's stay."""
        return self.nodes[name].visit

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {
            "banned": self.banned,
            "keys": {
                n: k for n, k in {**self._former, **self.roster.keys}.items() if n in self.nodes
            },
            "slots": self.slots.state(),
        }

    def restore(self, state: dict, banned: Collection[str] = ()) -> None:
        """Undo `state`. The keys in `banned` were banned after it was taken."""
        self._former = state["keys"]
        for name, key in self._former.items():  # they may come back
            node = self.nodes.setdefault(name, Peer(name, rank=-1, dead=True))
            # keys are banned, not names: another machine may have the name now
            was = name in state["banned"] or key in banned
            node.banned = was and self.roster.keys.get(name, key) == key
        for *_, name in state["slots"]:  # a node that was refused at the start has no key
            self.nodes.setdefault(name, Peer(name, rank=-1, dead=True))
        self._dissolve()
        self.slots.restore(state["slots"])

    def can_go_on(self) -> bool:
        """Whether some replica has all its nodes, formed or not."""
        return any(self.slots.is_whole(index) for index in self.slots.replicas)

    def can_do_without(self, name: str) -> bool:
        """Whether some replica without this node has all its nodes."""
        node, occupants = self.nodes[name], self.slots.occupants
        whole = filter(self.slots.is_whole, self.slots.replicas)
        return any(node not in occupants(index) for index in whole)

    def _dissolve(self) -> None:
        """Forget the replicas that cannot work any more, or whose slots have other nodes now."""
        for index, replica in list(self._formed.items()):
            if not replica.whole or replica.nodes != self.slots.occupants(index):
                del self._formed[index]

    def _can_form(self, index: int) -> bool:
        return not self.ready([index]) and self.slots.is_whole(index)

    def _join(self, replica: RpcReplica) -> None:
        self._generations[replica.index] += 1
        generation = self._generations[replica.index]
        # within a round the same number as before, or it could not repeat its own work
        before = self._mustered.get(replica.index)
        threads = before.threads if before else self._threads
        replica.join(generation, self._plan, self._backend, threads)
        self._formed[replica.index] = replica

    # Orders to many replicas at once

    def each(self, order: Callable[[_R], _T], replicas: Sequence[_R]) -> dict[int, _T]:
        """Give an order to several replicas at the same time. Returns the results by replica,
        without those of replicas that fail, or whose order needs another one that does."""
        self.meanwhile()
        futures = {replica.index: self._pool.submit(order, replica) for replica in replicas}
        results = {}
        for index, future in futures.items():
            try:
                results[index] = self._await(future)
            except ReplicaLost as loss:
                formed = self._formed.pop(loss.replica, None)
                # the user knows already why a replica is lost that is not formed any more
                if formed or (loss.replica == index and index not in self.losses):
                    self.losses[loss.replica] = str(loss)
                    self._tell(f"replica {loss.replica} lost: {loss}", loss.detail)
        return results

    def ready(self, indices: Iterable[int]) -> list[RpcReplica]:
        """The ones among these replicas that are formed, all of whose nodes can work."""
        formed = (self._formed.get(index) for index in indices)
        return [replica for replica in formed if replica is not None and replica.whole]

    def mustered(self, indices: Iterable[int]) -> list[RpcReplica]:
        """These replicas as they began the round. Those that were lost since can do nothing
        together any more, but each of their living nodes still answers."""
        return [self._mustered[index] for index in indices]

    def stop(self, status: int) -> None:
        """Send every living node home, with the run's exit status."""
        there = [node for node in self.nodes.values() if not node.dead and not node.refused]
        ask_all(there, self.caller, "stop", (status,), _FAREWELL_S)
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _await(self, future: "Future[_T]") -> _T:
        while not wait([future], timeout=_TICK_S).done:
            self.meanwhile()
        return future.result()
