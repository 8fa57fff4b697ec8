import pytest
import torch

from tdml.attacks import Knowledge
from tdml.attacks.attacker import Attacker
from tdml.config import load
from tdml.models.layout import Layout

LAYOUT = Layout(("a", "b"), (torch.Size([2]), torch.Size([1])), parameters=2, size=3, parameter_tensors=1)
OWN = torch.tensor([1.0, 2.0, 3.0])


def attacker(*overrides, name="r1.s1", seated=(1, 1), skips=True):
    who = [] if any("attack.nodes" in override for override in overrides) else ["attack.replicas=[1,3]"]
    made = Attacker(load(["topology.replicas=4", "topology.stages=2", *overrides, *who]), name)
    made.sit(*seated, LAYOUT, skips)
    return made


class Tells:
    """Stands in for the attack, to see what it is told."""

    def corrupt(self, update, context):
        self.context = context
        return update


def told(made, number=1, knowledge=None):
    made._attack = Tells()
    made.update(OWN, number, knowledge)
    return made._attack.context


def test_an_honest_node_does_nothing():
    honest = attacker("attack=half_work", name="r0.s1", seated=(0, 1))
    assert not honest.attacks
    assert honest.steps(10, 1) == 10
    assert honest.update(OWN, 1, None) is OWN
    assert honest.inputs(OWN, 1) is OWN
    assert honest.labels(OWN, 1) is OWN
    assert honest.testimony(OWN, 1, 1) is OWN
    assert not attacker("attack=none", name="r1.s1").attacks


def test_what_an_attack_is_told():
    knowledge = Knowledge.of(OWN[None], 1, every=False)
    context = told(attacker("attack=sign_flip"), knowledge=knowledge)
    assert (context.round, context.node, context.replica, context.stage) == (1, "r1.s1", 1, 1)
    assert (context.names, context.sizes, context.parameters) == (("a", "b"), (2, 1), 2)
    assert context.friends == {1, 3}
    assert (context.past, context.aggregate, context.work) == ((), None, 1.0)
    assert context.knowledge is knowledge


def test_the_replicas_of_attacking_nodes_are_friends():
    assert told(attacker("attack=sign_flip", "attack.nodes=[r1.s1,r2.s0]")).friends == {1, 2}


def test_what_is_drawn_alone_and_together():
    def draws(generator, node, seat, number=1):
        made = attacker("attack=sign_flip", name=node, seated=seat)
        return torch.rand(3, generator=getattr(told(made, number), generator)).tolist()

    for generator in ("generator", "shared"):
        first = draws(generator, "r1.s1", (1, 1))
        assert first == draws(generator, "r1.s1", (1, 1))
        assert first != draws(generator, "r1.s1", (1, 1), number=2)
        assert first != draws(generator, "r1.s0", (1, 0))
        assert (first == draws(generator, "r3.s1", (3, 1))) == (generator == "shared")


def test_it_acts_in_its_rounds_only():
    made = attacker("attack=sign_flip", "attack.from_round=3", "attack.share_of_rounds=0.5")
    acted = [made.update(OWN, number, None) is not OWN for number in range(1, 201)]
    assert acted[:2] == [False, False]
    assert 70 < sum(acted) < 130


def test_past_and_aggregate_are_remembered_from_quiet_rounds_too():
    made = attacker("attack=replay", "attack.from_round=2")
    assert made.update(OWN, 1, None) is OWN
    made.watch(torch.tensor([0.0, 1.0, 0.0]))
    made.watch(torch.zeros(3))  # the same weights loaded again
    assert made.update(2 * OWN, 2, None).tolist() == OWN.tolist()
    assert made.update(3 * OWN, 3, None).tolist() == OWN.tolist()  # what it sent, not its honest work
    assert told(made, 4).aggregate.tolist() == [0.0, 1.0, 0.0]


@pytest.mark.parametrize(("steps", "taken"), [(10, 5), (1, 1), (3, 2)])
def test_half_work_takes_half_of_the_steps_and_makes_up_for_it(steps, taken):
    made = attacker("attack=half_work")
    assert made.steps(steps, 1) == taken
    torch.testing.assert_close(made.update(OWN, 1, None), OWN * steps / taken)


def test_at_least_one_step_is_taken():
    assert attacker("attack=half_work", "attack.share=0").steps(10, 1) == 1


def test_beside_honest_neighbours_no_step_is_left_out():
    made = attacker("attack=half_work", "attack.nodes=[r1.s1]", skips=False)
    assert made.steps(10, 1) == 10
    assert made.update(OWN, 1, None).tolist() == OWN.tolist()


def test_in_a_quiet_round_all_steps_are_taken():
    made = attacker("attack=half_work", "attack.from_round=2")
    assert (made.steps(10, 1), made.steps(10, 2), made.steps(10, 1)) == (10, 5, 10)


def test_lies_are_told_in_acting_rounds():
    made = attacker("attack=lying_validator", "attack.from_round=2")
    assert made.testimony(OWN, 0, 1) is OWN
    assert made.testimony(OWN, 0, 2).tolist() == [6.0, 7.0, 8.0]
    assert made.testimony(OWN, None, 2) is OWN
