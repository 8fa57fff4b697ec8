"""Replicas of two stages without processes, for tests of audits: they do simple arithmetic and say what they like."""

import copy
from types import SimpleNamespace

import torch

from tdml import config as settings
from tdml.cluster.audit import Auditor
from tdml.cluster.exchange import Node, ReplicaLost
from tdml.cluster.gather import Gathered
from tdml.cluster.messages import Commitment, Failure, Repetition
from tdml.models.layout import Layout, change
from tdml.training.borders import GRADIENT_RECEIVED, GRADIENT_SENT, RECEIVED, SENT, empty, sketch
from tdml.training.state import StateLayout
from tdml.training.tape import Tape
from tdml.trust.audit import CLEAN, edges
from tdml.trust.commitment import content

STAGES, STEPS, WINDOWS = 2, 6, 3
LIAR = 2
EDGES = edges(STEPS, WINDOWS)
CONFIG = settings.load(
    [f"topology.stages={STAGES}", "topology.replicas=4", "topology.microbatches=1", "topology.schedule=gpipe"]
)
# Four parameters, a buffer that moves as they do, and a counter that moves a lot; then whether there are momenta, and
# four of them.
LAYOUT = Layout(("a", "mean", "count"), tuple(map(torch.Size, ((4,), (2,), ()))), 4, 7, 1)
WEIGHTS = [torch.arange(7.0) / 10 + stage for stage in range(STAGES)]


class FakeReplica:
    """An honest replica; a test overrides what it lies about. `eps` is the relative error of its arithmetic."""

    def __init__(self, index, kind="cpu", eps=0.0):
        self.index, self.kind, self.eps = index, kind, eps
        self.nodes = [Node(f"r{index}.s{stage}", 0) for stage in range(STAGES)]
        self.repetitions = 0

    def work(self):
        """A round: tapes, updates and commitments."""
        states = [torch.cat([flat, torch.zeros(5)]) for flat in WEIGHTS]
        records = [empty(STEPS, 1, 1) for _ in range(STAGES)]
        self.tapes = [Tape(EDGES, flat, rows) for flat, rows in zip(WEIGHTS, records, strict=True)]
        for step in range(STEPS):
            if self.tapes[0].wants(step):
                states = [self.at_border(stage, step, state) for stage, state in enumerate(states)]
                for tape, state in zip(self.tapes, states, strict=True):
                    tape.keep(state)
            states = self.step(states, batches(self.index)[step], [rows[step, 0] for rows in records], own=step)
        self.updates = [change(flat, state[:7]) for flat, state in zip(WEIGHTS, states, strict=True)]
        self.updates = [self.hand_in(stage, update) for stage, update in enumerate(self.updates)]
        self.rewrite(records)
        roots = [tape.seal(update) for tape, update in zip(self.tapes, self.updates, strict=True)]
        self.commitments = [Commitment("", root, "") for root in roots]

    def step(self, states, batch, records, own=None):
        """One step of both stages: each depends on what the other sends."""
        value, gradient = states[0][:4] * batch.float().mean(), states[1][:4].cos()
        value, gradient = self.send(SENT, value, own), self.send(GRADIENT_SENT, gradient, own)
        for rows in records:
            rows.zero_()
        records[0][SENT, 0] = records[1][RECEIVED, 0] = sketch(value)
        records[1][GRADIENT_SENT, 0] = records[0][GRADIENT_RECEIVED, 0] = sketch(gradient)
        moved = [(gradient + states[0][:4]).sin(), (value + states[1][:4]).cos()]
        return [self.learn(state, g * (1 + self.eps)) for state, g in zip(states, moved, strict=True)]

    def learn(self, state, gradient):
        momentum = 0.9 * state[8:] + gradient
        weights = state[:4] - 0.01 * momentum
        return torch.cat([weights, state[4:6] + 0.01 * gradient[:2], state[6:7] + 50, torch.ones(1), momentum])

    # What a test may override

    def send(self, kind, value, own):
        return value

    def at_border(self, stage, step, state):
        return state

    def hand_in(self, stage, update):
        return update

    def rewrite(self, records):
        """Change the records before they are committed to."""

    def tell(self, repetitions, ends, order):
        """What it reports as a validator."""
        return repetitions, ends

    # What the coordinator asks

    def open(self, windows):
        return [tape.open(windows) for tape in self.tapes]

    def border(self, window):
        return [tape.border(window) for tape in self.tapes]

    def repeat(self, orders):
        self.repetitions += 1
        order = orders[0]
        begin = [torch.cat([flat, torch.zeros(5)]) for flat in WEIGHTS]
        states = [first if o.state is None else o.state for first, o in zip(begin, orders, strict=True)]
        records = [empty(len(order.batches), 1, 1) for _ in range(STAGES)]
        for i, batch in enumerate(order.batches):
            states = self.step(states, batch, [rows[i, 0] for rows in records])
        if order.last:
            states = [change(flat, state[:7]) for flat, state in zip(WEIGHTS, states, strict=True)]
        done = [Repetition(content(state), rows) for state, rows in zip(states, records, strict=True)]
        done, self.ends = self.tell(done, states, order)
        return done

    def repeated(self):
        return self.ends


class LiesAtFirst(FakeReplica):
    """A lie in the first window's end, at stage 1."""

    def at_border(self, stage, step, state):
        return state * 1.5 if (stage, step) == (1, EDGES[1]) else state


class FakeFleet:
    """The replicas that are there, by index."""

    def __init__(self, replicas):
        self.mustered = {replica.index: replica for replica in replicas}
        self.formed = dict(self.mustered)

    def ready(self, indices):
        return [self.formed[i] for i in indices if i in self.formed]

    def seated(self, indices):
        return [self.mustered[i] for i in indices]

    def each(self, order, replicas):
        done = {}
        for replica in replicas:
            try:
                done[replica.index] = order(replica)
            except ReplicaLost:
                self.formed.pop(replica.index, None)
        return done


def batches(index):
    return torch.arange(STEPS * 2).view(STEPS, 2) + 10 * index


def failing(replica, stage, dead=False):
    """Lose a replica, by one of its nodes."""
    replica.nodes[stage].dead = dead
    raise ReplicaLost(replica.index, [Failure(replica.nodes[stage].name, "planted", "")])


def auditor_of(replicas, rate=1.0, repeatable=True):
    """An auditor of these replicas, which have worked, and what was gathered from them."""
    for replica in replicas:
        replica.work()
    config = copy.copy(CONFIG)
    config.trust = copy.copy(CONFIG.trust)
    config.trust.audit_rate = rate
    job = SimpleNamespace(
        config=config, windows=WINDOWS, longest=STEPS, edges=lambda index: EDGES, layouts=[LAYOUT] * STAGES,
        states=[StateLayout(LAYOUT, CONFIG.train)] * STAGES,
        batches=lambda index, number: batches(index), repeatable=repeatable, plan=SimpleNamespace(parts=STAGES),
    )  # fmt: skip
    found = Gathered(
        [r.index for r in replicas],
        [torch.stack([r.updates[stage] for r in replicas]) for stage in range(STAGES)],
        {}, 0, {r.index: r.commitments for r in replicas}, {r.index: [content(u) for u in r.updates] for r in replicas},
    )  # fmt: skip
    return Auditor(job, FakeFleet(replicas)), found


def audit(replicas, suspects=(), rate=1.0, rounds=1, repeatable=True):
    """The outcomes of a round's audit; with `rounds`, of the last of several that are alike."""
    auditor, found = auditor_of(replicas, rate, repeatable)
    for number in range(1, rounds + 1):
        outcomes = auditor.audit(number, found, suspects, WEIGHTS, torch.Generator().manual_seed(number))
    return outcomes


def among_honest(liar, count=4):
    return [liar if index == LIAR else FakeReplica(index) for index in range(count)]


def assert_only(outcomes, result, blamed=()):
    """The liar's outcome, and that all others' are clean."""
    assert (outcomes[LIAR].result, outcomes[LIAR].blamed) == (result, blamed), outcomes[LIAR]
    assert {outcome.result for index, outcome in outcomes.items() if index != LIAR} == {CLEAN}
