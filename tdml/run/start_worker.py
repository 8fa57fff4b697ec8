"""The life of a worker or spare: getting ready, then one session after the other, until the
coordinator says stop."""

import importlib
import os
import socket
from dataclasses import dataclass, replace
from functools import partial
from signal import Signals
from typing import NoReturn

import torch
import torch.distributed as dist

from tdml.data.contents import Contents, contents_of
from tdml.data.source import Source, load_source
from tdml.errors import INTERRUPTED, SettingError, fail, one_line, printable, say
from tdml.members.cards import LONGEST_ERROR, Card, Decision, Over
from tdml.members.own_key import node_identity
from tdml.members.rendezvous import Rendezvous
from tdml.members.roster import read_roster
from tdml.node.devices import Device, check_precision, choose_device, make_repeatable, own_gpu
from tdml.node.main_thread import Ending
from tdml.node.worker import METHODS, Worker
from tdml.protocol.identity import Identity
from tdml.protocol.names import first_slot, node_name, node_names
from tdml.run.following import check_coordinator
from tdml.run.interruption import Interruption
from tdml.settings.code import code_of
from tdml.settings.file import fingerprint
from tdml.settings.schema import Config
from tdml.wire import endpoint
from tdml.wire.channel import Listener
from tdml.wire.guard import Guard
from tdml.wire.rpc_world import NotFormed, form_rpc, leave_rpc

# in which a signal that all ranks get reaches the coordinator too, before it finds workers dead
_GRACE_S = 3.0
_WAITS = "waiting for the next border between rounds"
_ENDED = {
    0: "has ended",
    INTERRUPTED: "was interrupted, and may go on: start this again when its coordinator does",
}
_ENDED_EARLY = "has ended early: its coordinator's machine has the reason"
_NO_COORDINATOR = "the coordinator is gone: see its machine for the reason"


@dataclass(frozen=True)
class _WorkerSetup:
    """What a process has when it first enters."""

    identity: Identity
    device: Device
    source: Source | None
    held: Contents | None
    roster: dict[str, str] | None
    code: str


def work(config: Config, rendezvous: Rendezvous, interruption: Interruption) -> int:
    """Be a worker, or a spare that may become one; the exit status."""
    try:
        rendezvous.bound_silence(config.sync.timeout, config.sync.patience)
        return _Visit(config, rendezvous, interruption).stay()
    except Over as over:
        return over.status
    except KeyboardInterrupt:
        return INTERRUPTED
    except dist.DistError:
        return fail(_NO_COORDINATOR)
    except SettingError as error:
        return fail(str(error))


class _Visit:
    """The life of one process: it keeps its key, and its node for as long as it has the name."""

    def __init__(self, config: Config, rendezvous: Rendezvous, interruption: Interruption) -> None:
        self._config, self._rendezvous, self._interruption = config, rendezvous, interruption
        self._ready: _WorkerSetup | None = None
        self._guard: Guard | None = None
        self._worker: Worker | None = None
        self._inner: dict[str, torch.Tensor] = {}  # states of a worker that was given up
        self._coordinator: str | None = None  # the key of the one that was met first

    def stay(self) -> int:
        """One session after the other; the exit status.

        Raises:
            Over: the run has ended without this process.
            SettingError: it cannot take part.
            DistError: the coordinator is gone, and the store with it, before this process has met
                it.
        """
        if self._rendezvous.rank is None:
            say(_WAITS)
        while True:
            try:
                status = self._next_session()
            except dist.DistError:
                if self._coordinator is None:
                    raise
                self._await_coordinator()
                continue
            if status is not None:
                return status

    def _next_session(self) -> int | None:
        """Take part in a session, if this process is let in; the exit status if it has ended for
        good."""
        card = self._answer(self._rendezvous.await_call(self._coordinator))
        decision = self._rendezvous.await_decision(self._coordinator)
        if decision is None:
            return None
        roster = self._ready.roster if self._ready else None
        check_coordinator(decision, roster, self._config, self._coordinator)
        if decision.error:
            say(f"{self._said}: {printable(decision.error)}: {_WAITS}")
            return None
        self._rendezvous.heeds = (decision.public, decision.at.job, decision.visit)
        place = decision.place(card)
        if place is not None:
            return self._take_part(decision, place)
        reason = decision.reason(card)
        return None if reason is None else self._stay_out(reason)

    def _await_coordinator(self) -> None:
        """Wait for the coordinator that this process has met, or one with its key.

        Raises:
            SettingError: none has come.
        """
        self._interruption.check()  # the same signal may have ended it
        leave_rpc()
        patience, name = self._config.sync.patience, self._said
        address = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        say(
            f"{name}: the coordinator is out of reach: waiting for it to come back to {address}, "
            f"with resume=true if it has ended (sync.patience={patience:g} s)"
        )
        try:
            self._rendezvous.return_to(patience, self._config.sync.timeout)
        except dist.DistError:
            raise SettingError(
                f"{name}: the coordinator is out of reach, and none has come to {address} within "
                f"sync.patience={patience:g} s"
            ) from None
        say(f"{name}: the coordinator answers: {_WAITS}")
        if self._worker is not None:
            self._inner = self._worker.node.inner
        self._worker = None  # it is bound to the connection that is gone

    def _answer(self, session: str) -> Card:
        """Hand in a card, which is returned; it may have to say what is wrong."""
        card = Card(
            fingerprint(self._config), "", rank=self._rendezvous.rank, visit=self._rendezvous.visit
        )
        try:
            ready = self._ready = self._ready or _get_ready(self._config, self._rendezvous.rank)
            full = replace(card, gpu=own_gpu(ready.device), data=ready.held, code=ready.code)
            card = full.signed(ready.identity, session)
        except Exception as error:  # whatever it is, the others must not wait for this rank
            text = f"{self._said} on {socket.gethostname()}: {one_line(error)}"
            card = replace(card, error=text[:LONGEST_ERROR])
        self._rendezvous.enter(card)
        return card

    @property
    def _said(self) -> str:
        rank = self._rendezvous.rank
        if self._worker is not None:
            return self._worker.node.name
        return "a node" if rank is None else node_name(rank, self._config.topology)

    def _stay_out(self, reason: str) -> int:
        fail(f"{self._said} is refused: {reason}")
        if self._rendezvous.rank is None:
            return 1
        return self._rendezvous.await_end()  # a failure would end the machine's other ranks too

    def _take_part(self, decision: Decision, place: int) -> int | None:
        """Be a member of one session; the exit status if the run has ended with it. Raises
        DistError if the coordinator is gone, and the store with it."""
        assert self._ready is not None
        name = decision.members[place].name
        self._coordinator = decision.public
        worker = self._worker = self._worker_of(name, decision)
        assert self._guard is not None  # since there is a worker
        worker.begin(decision.at.session)
        endpoint.listen(
            Listener(
                self._ready.identity,
                decision.at,
                name,
                decision.public,
                METHODS,
                worker.order,
                self._guard.refusals,
            )
        )
        try:
            form_rpc(self._rendezvous.store, decision.at.session, place, self._config.sync.timeout)
        except NotFormed as error:
            if self._rendezvous.rank is None:
                fail(str(error))
            return None
        self._interruption.defer(_GRACE_S, partial(_leave, name, self._rendezvous))
        ending = worker.serve()
        self._interruption.defer(0)
        if ending is Ending.GONE:
            raise dist.DistNetworkError("the store is gone")
        if ending is Ending.CALLED:
            leave_rpc()
            return None
        # once on every machine but the coordinator's, where it says more
        if os.environ["LOCAL_RANK"] == "0":
            say(f"{self._said}: the run {_ENDED.get(ending, _ENDED_EARLY)}")
        return ending

    def _worker_of(self, name: str, decision: Decision) -> Worker:
        """The node's worker, which is kept from session to session of a job."""
        from tdml.attacks.node import make_node  # seconds to import
        from tdml.attacks.tap import StoreTap

        worker, ready = self._worker, self._ready
        assert ready is not None
        if worker and (worker.node.name, worker.node.job) == (name, decision.at.job):
            return worker
        if self._guard is None:
            self._guard = Guard(endpoint.obey)
            self._guard.install()
        node = make_node(
            self._config,
            name,
            ready.identity,
            decision.at.job,
            ready.source,
            StoreTap(self._rendezvous.store),
        )
        node.inner, self._inner = self._inner, {}
        if self._rendezvous.rank is None:
            say(f"takes part as {name}")
        return Worker(
            self._config,
            node,
            ready.device.device,
            self._rendezvous,
            self._guard.refusals,
            decision.public,
        )


def _leave(name: str, rendezvous: Rendezvous, number: Signals) -> NoReturn:
    """The coordinator finds the connection closed at once, and goes on without this node."""
    text = f"{name} leaves ({number.name}): it loses a round at most, and is paid for those before"
    say(text)
    rendezvous.say_goodbye()
    os._exit(INTERRUPTED)


def _get_ready(config: Config, rank: int | None) -> _WorkerSetup:
    """What takes its time, once the coordinator has found nothing wrong with the settings."""
    device = _device_of(config, rank)
    if config.trust.enabled and config.trust.budget:
        make_repeatable()
    roster = read_roster(config.identity.roster, node_names(config.topology))
    source = None
    if _sees_data(rank, config):
        source = load_source(config)
    if rank is None or first_slot(rank, config.topology):
        # takes seconds: here nobody waits for an answer
        importlib.import_module("tdml.node.pipeline")
        importlib.import_module("tdml.attacks.node")
    held = contents_of(source, config.seed) if source else None
    code = code_of(config)
    # last: where something fails this is called again, and a key that is taken is given to nobody
    identity = node_identity(config.identity.folder, *_place())
    return _WorkerSetup(identity, device, source, held, roster, code)


def _place() -> tuple[int, int]:
    """Of this process among those that were started with it on this machine, and their number."""
    return int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])


def _device_of(config: Config, rank: int | None) -> Device:
    """What this process computes on."""
    local, ranks = _place()
    hosts_coordinator = rank == local
    chosen = choose_device(config.device, local - hosts_coordinator, ranks - hosts_coordinator)
    check_precision(config.train.precision, chosen.device)
    return chosen


def _sees_data(rank: int | None, config: Config) -> bool:
    """The first stage reads inputs, the last labels; a spare may become either."""
    slot = None if rank is None else first_slot(rank, config.topology)
    return slot is None or slot.stage in (0, config.topology.stages - 1)
