"""Nodes that keep others from repeating work, to be put in the place of honest ones in a
laboratory."""

from tdml.node.node import Node
from tdml.protocol.orders import ReplicaLost
from tests.round.liars import AS_VALIDATOR, Liar


class StopsShowing(Liar):
    """Lies, and shows the state that others start from for a few times, until it is disputed; then
    another one, or it says that it cannot."""

    times = 3
    answers = True

    def commit(self, round_number):
        self._shown_states = 0
        return super().commit(round_number)

    def digests(self, vector):
        if vector.startswith("state"):
            self._shown_states += 1
            if not self._shown_states % (self.times + 1):
                if self.answers:
                    return ("0" * 64,)
                raise ReplicaLost(self.slot.replica, f"{self.name}: no room")
        return super().digests(vector)


class RepeatsNothing(Node):
    """Does its own work, and fails when it is to repeat that of others."""

    def repeating(self, order):
        if not order.own:
            raise MemoryError("no room")
        yield from super().repeating(order)


class AccusesAndFails(Liar):
    """Finds another end of others' work, and fails when it is to say how it came there."""

    when = AS_VALIDATOR
    deed = "update"

    def repeating(self, order):
        if not order.own and order.each:
            raise MemoryError("no room")
        yield from super().repeating(order)


class KeepsOther(Liar):
    """Commits to states in which what its optimizer keeps is changed."""

    deed = "nothing"

    def training(self, order, steps):
        for step in super().training(order, steps):
            trace = self._trace
            trace.keep = lambda state, trace=trace: type(trace).keep(trace, self._changed(state))
            yield step

    def _changed(self, state):
        state, form = state.clone(), self.stage.trainer._form.inner
        sections = form.sections(state[self.stage.layout.size :])
        self.change(dict(zip(["filled", *form._names], sections, strict=True)))
        return state


class KeepsAnotherForm(KeepsOther):
    """Keeps, commits to and shows states of a form that nobody can take steps from."""

    form = staticmethod(lambda state: state[:-1])

    def _changed(self, state):
        return self.form(state)


class CountsBack(KeepsOther):
    """The optimizer has taken minus one step: whoever goes on from there divides by zero."""

    to = -1.0

    def change(self, kept):
        kept["step"].fill_(self.to)


class CountsFartherBack(CountsBack):
    """Minus two: from there a root of a negative number is taken, which torch calls a
    RuntimeError."""

    to = -2.0


class DropsSlot(KeepsOther):
    """What Adam keeps under one name is missing: it looks for that, and fails."""

    @staticmethod
    def change(kept):
        kept["filled"][: len(kept["filled"]) // 3] = 0.0


class GoesOnFromThere(DropsSlot):
    """Of the first state that it keeps; and it goes on from there. Before each step it resumes, as
    the coordinator does, which takes a single one."""

    resumes = False

    def training(self, order, steps):
        self.resumes = True
        yield from super().training(order, steps)

    def repeating(self, order):
        self.resumes = order.own
        yield from super().repeating(order)

    def _take_step(self, given, log, step, keeps=False):
        if self.resumes:
            self.stage.trainer.resume(self.stage.trainer.state())
        yield from super()._take_step(given, log, step, keeps)

    def _changed(self, state):
        if self._trace.kept:
            return state
        changed = self._made_up(state)
        self.stage.trainer.resume(changed)
        return changed

    def _made_up(self, state):
        return super()._changed(state)


class CountsTooFar(GoesOnFromThere):
    """BatchNorm has counted so many batches that float32 does not hold the next number."""

    def _made_up(self, state):
        state, layout = state.clone(), self.stage.layout
        for name, value in zip(layout.names, layout.views(state[: layout.size]), strict=True):
            if "num_batches" in name:
                value.fill_(2.0**24)
        return state


class Marks(KeepsOther):
    """Its buffers are changed, so that `hidden.Marked` computes nothing any more: whoever takes a
    step from there loses its group."""

    def _changed(self, state):
        layout = self.stage.layout
        state = state.clone()
        state[layout.parameters : layout.size] = -1.0
        return state


class MarksAndAccuses(Marks):
    """And as a validator it finds another end."""

    def end_to_report(self, end, order):
        return end if order.own else end * 1.5


class Sulks(RepeatsNothing, Marks):
    """And it repeats nothing itself."""


class HalfFilled(KeepsOther):
    """Slots are filled by half, which reads as filled, and is then written as whole."""

    @staticmethod
    def change(kept):
        kept["filled"].mul_(0.5)


class FailsInDisputes(Node):
    """Lies in every step, and fails whenever it is to repeat its own work, and that of others if
    that is so `at_all`."""

    disputed, at_all = 0, False

    def training(self, order, steps):
        self._lies = True
        yield from super().training(order, steps)
        self._lies = False

    def repeating(self, order):
        self.disputed += order.own
        if order.own or self.at_all:
            raise MemoryError("no room")
        yield from super().repeating(order)

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self._lies:
            state = self.stage.trainer.state()
            state[: self.stage.layout.size] += 0.01
            self.stage.trainer.resume(state)

    _lies = False


class Asked(Node):
    """Counts by `asked` what it is to repeat: of which replica, from which step on. It `fails`, or
    not."""

    fails = False

    def repeating(self, order):
        self.asked[order.replica, order.first] += 1
        if self.fails:
            raise MemoryError("no room")
        yield from super().repeating(order)
