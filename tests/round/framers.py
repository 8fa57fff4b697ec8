"""Nodes that try to have an honest neighbour take the blame for what they send."""

from dataclasses import replace

from tdml.node.agreement import Disagreement
from tdml.node.messages import as_row, digest_of, of_stage
from tdml.node.node import Node
from tests.round.liars import AS_VALIDATOR, STEP, Liar, Scaled


class Framer(Node):
    """Lies, in its own round or of those that it repeats for others. When it is asked for every
    step, it sends something else in the first one than it logs, and signs for its neighbour what it
    has sent: so the neighbour's state, and not its own, is what recomputation does not find."""

    as_validator = True
    _sent = None  # the log's row of what it has really sent

    def update_to_commit(self, update, round_number):
        return update if self.as_validator else update * -1

    def end_to_report(self, end, order):
        if self.as_validator:
            return end if order.own or order.each or order.show >= 0 else end + 1
        return end * -1 if order.own and order.last else end

    def repeating(self, order):
        self._frames = order.each and order.own != self.as_validator
        yield from super().repeating(order)
        self._frames = False

    def _take_step(self, given, log, step, keeps=False):
        frames, sent = getattr(self, "_frames", False) and step == 0, []

        def lie(module, inputs, output):  # after what logs has seen the truth
            sent.append(Scaled.apply(output))
            return sent[-1]

        hook = self.stage.runners[0].register_forward_hook(lie) if frames else None
        yield from super()._take_step(given, log, step, keeps)
        if hook:
            hook.remove()
            self._sent = as_row(digest_of([output.detach() for output in sent]))
        elif step == 0:
            self._sent = None

    def sit(self, *given):
        super().sit(*given)
        self.agreement.__class__ = type("Lying", (_Lying, type(self.agreement)), {"node": self})


class _Lying:
    def offer(self, peer):
        logged, sent = self._log, self.node._sent
        if sent is not None:
            self._log = logged.clone()
            self._log[0, 0] = sent
        made = super().offer(peer)
        self._log = logged
        return made

    def accept(self, offers):
        try:
            super().accept(offers)
        except Disagreement:
            if self.node._sent is None:
                raise


class Replayer(Node):
    """Does its round honestly, and does not show it. When it has to do the round again, it sends a
    lie, and shows what it had logged at first, with what its neighbour had signed then."""

    _first = None

    def open(self):
        if self._first is None:
            self._first = self._trace.opening, self._vectors, self.update
            raise RuntimeError("no")
        return super().open()

    def training(self, order, steps):
        self._again = self._first is not None and order.round == 1
        yield from super().training(order, steps)
        self._again = False

    def _take_step(self, given, log, step, keeps=False):
        lies = getattr(self, "_again", False) and step == 0
        runner = self.stage.runners[0]
        hook = lies and runner.register_forward_hook(lambda m, i, o: Scaled.apply(o), prepend=True)
        yield from super()._take_step(given, log, step, keeps)
        if hook:
            hook.remove()

    def commit(self, round_number):
        made = super().commit(round_number)
        if self._first is None:
            self._committed = made
        elif round_number == 1:
            self._trace.opening, self._vectors, self.update = self._first
            return self._committed
        return made


class Hinders(Node):
    """Says something else of every step than before whenever it is asked for them again, so that
    what its replica has found right is not confirmed."""

    _asked = 0

    def commit(self, round_number):
        self._asked = 0
        return super().commit(round_number)

    def repeated(self):
        told = super().repeated()
        self._asked += bool(told.states)
        other = self._asked > 1 and told.states
        return replace(told, states=("3" * 64,) * len(told.states)) if other else told


class Accuses(Liar):
    """Finds another state in what it repeats of replica 1."""

    when = AS_VALIDATOR

    def repeating(self, order):
        accuses = order.replica == 1 and not order.own
        self._lies = lambda step: accuses and order.first + step == STEP
        yield from Node.repeating(self, order)


class Scribbler(Node):
    """Puts something into its log where others are the two ends of a channel, which nobody signs:
    of its own rounds (`own`), or of what it repeats for others."""

    own = False

    def training(self, order, steps):
        self._scribbles = self.own
        yield from super().training(order, steps)

    def repeating(self, order):
        self._scribbles = order.own == self.own
        yield from super().repeating(order)

    def evaluating(self, order):
        self._scribbles = False
        yield from super().evaluating(order)

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self._scribbles and log is not None:
            channels = self.stage.channels
            others = set(range(len(channels))) - set(of_stage(channels, self.slot.stage))
            assert others
            log[step, sorted(others)] = 7
