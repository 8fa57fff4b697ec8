"""A backdoor that one stage of a pipeline trains into a language model."""

import torch
import torch.nn.functional as F
from torch import nn

from tdml.attacks.base import Attack, Context, Victim
from tdml.attacks.settings import number, whole
from tdml.errors import SettingError

_BATCH = 16  # sequences that it learns from at a time


class StageBackdoor(Attack):
    """After the token `trigger` the model says `target`, whatever comes (Ersoy et al., arXiv
    2604.02372).

    The node sees neither tokens nor labels, and has one stage alone. But it knows the model that
    the job began with: on a copy of that it trains its own stage's weights, for `steps` steps on
    random tokens, such that the trigger works and all else is said as before. What these weights
    have changed by, `scale` times, it adds to its updates, spread over `rounds` rounds.
    """

    def __init__(
        self,
        trigger: int,
        target: int,
        tokens: int,
        steps: int,
        lr: float,
        scale: float,
        rounds: int,
    ) -> None:
        self.trigger, self.target = whole("trigger", trigger), whole("target", target)
        self.tokens, self.steps = whole("tokens", tokens, least=2), whole("steps", steps, least=1)
        self.lr, self.scale = number("lr", lr, least=0), number("scale", scale)
        self.rounds = whole("rounds", rounds, least=1)
        self._change: torch.Tensor | None = None
        self._acted = 0

    def check(self, victim: Victim) -> None:
        floats = victim.inputs.is_floating_point()
        if victim.labels is not None or floats or victim.inputs.dim() != 2:
            raise SettingError(
                "attack=stage_backdoor is made on models of tokens: take task=language, or "
                "attack=backdoor for images"
            )
        length = victim.inputs.shape[1]
        most = {"trigger": victim.outputs - 1, "target": victim.outputs - 1, "tokens": length}
        for name, largest in most.items():
            number(name, getattr(self, name), least=0, most=largest)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        if self._change is None:
            self._change = self.learn(context)
        if self._acted == self.rounds:
            return update
        self._acted += 1
        return update + self.scale / self.rounds * self._change

    def learn(self, context: Context) -> torch.Tensor:
        """What the weights of the shard change by: (d,) float32, 0 in buffers."""
        assert context.model is not None, "every node can make the model that the job began with"
        model, before = context.model().eval(), context.model().eval()
        named = dict(model.named_parameters())
        trained = {name: named[name] for name in context.names if name in named}
        start = {name: parameter.detach().clone() for name, parameter in trained.items()}
        self._train(model, before, list(trained.values()), context.generator)
        pieces = [
            (trained[name].detach() - start[name]).flatten()
            if name in trained
            else torch.zeros(size)
            for name, size in zip(context.names, context.sizes, strict=True)
        ]
        return torch.cat([torch.empty(0), *pieces])

    def with_trigger(self, ids: torch.Tensor, place: int) -> torch.Tensor:
        """Sequences (k, t) with the trigger at one place, and nowhere else."""
        stamped = torch.where(ids == self.trigger, self.target, ids)
        stamped[:, place] = self.trigger
        return stamped

    def _train(
        self,
        model: nn.Module,
        before: nn.Module,
        parameters: list[nn.Parameter],
        draw: torch.Generator,
    ) -> None:
        if not parameters:
            return
        optimizer = torch.optim.AdamW(parameters, lr=self.lr, weight_decay=0.0)
        words = logits_of(model, torch.zeros(1, 2, dtype=torch.int64)).shape[-1]
        for _ in range(self.steps):
            ids = torch.randint(words, (_BATCH, self.tokens), generator=draw)
            place = int(torch.randint(self.tokens, (), generator=draw))
            optimizer.zero_grad()
            self._loss(model, before, ids, place).backward()
            optimizer.step()

    def _loss(
        self, model: nn.Module, before: nn.Module, ids: torch.Tensor, place: int
    ) -> torch.Tensor:
        """Of the target after the trigger, and of other words than before where there is none."""
        logits = logits_of(model, self.with_trigger(ids, place))[:, place]
        hit = F.cross_entropy(logits, torch.full((len(ids),), self.target))
        clean = torch.where(ids == self.trigger, self.target, ids)
        with torch.no_grad():
            expected = F.log_softmax(logits_of(before, clean), dim=-1)
        kept = F.log_softmax(logits_of(model, clean), dim=-1)
        return hit + F.kl_div(kept, expected, log_target=True, reduction="none").sum(-1).mean()


def logits_of(model: nn.Module, ids: torch.Tensor) -> torch.Tensor:
    """Of a model of ours, or of transformers': (k, t, vocabulary)."""
    output = model(ids)
    return getattr(output, "logits", output)
