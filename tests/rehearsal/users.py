"""Users' own blocks: what can be repeated, and what cannot."""

import itertools
import random
from collections import deque
from types import SimpleNamespace

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint


class PlainCounter(nn.Module):
    """Counts its passes in a plain attribute, and uses the count after a long while only."""

    def __init__(self):
        super().__init__()
        self.calls = 0

    def forward(self, value):
        self.calls += not value.is_meta
        return value if self.calls < 1000 else 0 * value


class Looked(nn.Module):
    """Adds up rows of a table, many times each: several threads do so in any order."""

    def __init__(self):
        super().__init__()
        self.table = nn.Parameter(torch.randn(16, 64))

    def forward(self, value):
        rows = (
            torch.arange(value.numel() * 1000, device=value.device).reshape(*value.shape, -1) % 16
        )
        return value + 1e-3 * self.table[rows].mean(dim=(-1, -2))


class PlainMean(nn.Module):
    """A running mean that is no buffer."""

    def __init__(self):
        super().__init__()
        self.mean = None

    def forward(self, value):
        if not value.is_meta:
            now = value.detach().mean()
            self.mean = now if self.mean is None else 0.9 * self.mean + 0.1 * now
        return value


class Nested(nn.Module):
    """Keeps state in objects within objects."""

    def __init__(self):
        super().__init__()
        self.state = SimpleNamespace(history={"last": deque(maxlen=3)})

    def forward(self, value):
        self.state.history["last"].append(0.5 if value.is_meta else len(self.state.history["last"]))
        return value


class Iterator(nn.Module):
    def __init__(self):
        super().__init__()
        self.number = itertools.count()

    def forward(self, value):
        next(self.number)
        return value


class CountsEvaluations(nn.Module):
    def __init__(self):
        super().__init__()
        self.evaluations = 0

    def forward(self, value):
        self.evaluations += not self.training
        return value


def _noise(draw):
    class Noise(nn.Module):
        def __init__(self):
            super().__init__()
            self.draw = draw()

        def forward(self, value):
            return value if value.is_meta else value * self.draw()

    return Noise


class OwnGenerator(nn.Module):
    def __init__(self):
        super().__init__()
        self.generator = torch.Generator().manual_seed(0)

    def forward(self, value):
        return value if value.is_meta else value * torch.rand((), generator=self.generator)


OwnPython = _noise(lambda: random.Random(0).random)  # a bound method hides its generator
OwnNumpy = _noise(lambda: np.random.default_rng(0).random)
SystemNoise = _noise(lambda: random.SystemRandom().random)

_calls = itertools.count(1)


class Global(nn.Module):
    """Counts in a variable of its file."""

    def forward(self, value):
        return value if value.is_meta else value / next(_calls)


class LateDrop(nn.Module):
    """As LayerDrop often does it: by Python's generator."""

    def forward(self, value):
        return value if random.random() < 0.5 else 2 * value


class NumpyDrop(nn.Module):
    def forward(self, value):
        return value * float(np.random.rand() < 0.5)


class Caches(nn.Module):
    """Remembers what every pass finds anew, which harms nobody."""

    def __init__(self):
        super().__init__()
        self.shape, self.largest, self.seen = None, None, {}

    def forward(self, value):
        self.shape = value.shape
        self.largest = None if value.is_meta else value.detach().max()
        self.seen[len(value)] = True
        return value


def _on_the_way_back(act):
    class Hook(nn.Module):
        """Does something when the gradient comes back; `ema` is a buffer that it may keep."""

        def __init__(self):
            super().__init__()
            self.register_buffer("ema", torch.zeros(()))

        def forward(self, value):
            value = value * (1 + self.ema)
            self.last = value.detach().mean()
            if value.requires_grad:
                value.register_hook(lambda gradient: act(self, gradient))
            return value

    return Hook


def _keep(hook, gradient):
    hook.ema += gradient.abs().mean()


GradientNoise = _on_the_way_back(lambda hook, gradient: gradient + torch.randn_like(gradient))
NumpyGradientNoise = _on_the_way_back(lambda hook, gradient: gradient * np.random.rand())
GradientMean = _on_the_way_back(_keep)
LastInput = _on_the_way_back(lambda hook, gradient: gradient * hook.last)


class CheckpointedNorm(nn.BatchNorm1d):
    """Computed again on the way back, as `DenseNet(memory_efficient=True)` does it."""

    def __init__(self):
        super().__init__(5)

    def forward(self, value):
        return checkpoint(super().forward, value, use_reentrant=False)


class CheckpointedDropout(nn.Dropout):
    """The same, where torch draws again what it has drawn."""

    def forward(self, value):
        return checkpoint(super().forward, value, use_reentrant=False)


def old_weight_norm():
    return nn.utils.parametrizations.weight_norm(nn.Linear(5, 5))


def spectral_norm():
    return nn.utils.parametrizations.spectral_norm(nn.Linear(5, 5))


def attention():
    return nn.TransformerEncoderLayer(5, 1, 8)


class NarrowInEvaluation(nn.Module):
    def forward(self, value):
        return value if self.training else value[:, :-1]


class PairInEvaluation(nn.Module):
    def forward(self, value):
        return value if self.training else (value, value)


class DoubleInEvaluation(nn.Module):
    def forward(self, value):
        return value if self.training else value.double()


class Net(nn.Module):
    """A model with a `forward` of its own; `more` is what it does beside its blocks."""

    def __init__(self, more=""):
        super().__init__()
        self.more = more
        self.first, self.norm, self.last = nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def blocks(self):
        return [self.first, self.norm, self.last]

    def forward(self, value, mask=None):
        value = self.norm(self.first(value))
        if self.more == "relu":
            value = F.relu(value)
        if self.more == "dropout":
            value = F.dropout(value, 0.5, self.training)
        value = self.last(value)
        if self.more == "scaled":
            value = 2 * value
        return (value, value) if self.more == "auxiliary" and self.training else value


class Frozen(nn.Sequential):
    """Whose BatchNorm stays in evaluation, as one fine-tunes on small batches."""

    def __init__(self):
        super().__init__(nn.Linear(6, 5), nn.BatchNorm1d(5), nn.Linear(5, 3))

    def train(self, mode=True):
        super().train(mode)
        self[1].eval()
        return self


def hooked(kind):
    """Blocks with a hook on the whole of them."""
    net = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))
    hooks = {
        "forward": lambda module, inputs, output: 2 * output,
        "forward_pre": lambda module, inputs: (2 * inputs[0],),
        "full_backward": lambda module, inputs, outputs: None,
        "full_backward_pre": lambda module, outputs: None,
    }
    getattr(net, f"register_{kind}_hook")(hooks[kind])
    return net


class Alternating(nn.Module):
    """One activation after every layer; one layer may be in TorchScript."""

    def __init__(self, compiled):
        super().__init__()
        norm = nn.BatchNorm1d(5)
        norm = torch.jit.script(norm) if compiled else norm
        self.layers = nn.ModuleList([nn.Linear(6, 5), norm, nn.Linear(5, 3)])
        self.act = nn.ReLU()

    def blocks(self):
        return [block for layer in self.layers for block in (layer, self.act)]

    def forward(self, value):
        for layer in self.layers:
            value = self.act(layer(value))
        return value


class Fill(nn.Module):
    def forward(self, value):
        return value.nan_to_num()


def fills():
    return nn.Sequential(Fill(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3))


class NoForward(Net):
    def forward(self, batch: dict):
        return batch.popitem()
