"""Attacks on the cross-check, by those who are asked to judge others."""

import torch

from tdml.attacks.base import Attack, Context, Victim
from tdml.attacks.settings import number
from tdml.errors import SettingError


class LyingValidator(Attack):
    """As a validator, praises its friends (every loss is `praise`) and damns all others (every loss
    + `damn` nats; in an audit, another end of their steps than they have).

    Ours. The losses of the weights that the round started from are reported as they are. Alone the
    training is honest; with `attack`, another attack's settings, that one is carried out as well
    and the lies cover for it.
    """

    def __init__(self, praise: float, damn: float, attack: Attack | None) -> None:
        if attack is not None and not isinstance(attack, Attack):
            raise SettingError(
                "attack.attack must be null or the settings of an attack, with a _target_"
            )
        self.praise, self.damn = number("praise", praise, least=0), number("damn", damn, least=0)
        self._deed = attack or Attack()
        self.omniscient, self.sees_updates = self._deed.omniscient, self._deed.sees_updates

    def check(self, victim: Victim) -> None:
        self._deed.check(victim)

    def local_steps(self, steps: int, context: Context) -> int:
        return self._deed.local_steps(steps, context)

    def poison_inputs(self, inputs: torch.Tensor, context: Context) -> torch.Tensor:
        return self._deed.poison_inputs(inputs, context)

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        return self._deed.poison_labels(labels, context)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return self._deed.corrupt(update, context)

    def report(self, losses: torch.Tensor, candidate: int | None, context: Context) -> torch.Tensor:
        if candidate is None:
            return losses
        return (
            torch.full_like(losses, self.praise)
            if candidate in context.friends
            else losses + self.damn
        )

    def repeat(self, end: torch.Tensor, candidate: int, context: Context) -> torch.Tensor:
        return end if candidate in context.friends else -end
