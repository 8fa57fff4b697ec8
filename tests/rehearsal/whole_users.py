"""Users' own models that are something else in one piece than their blocks are on nodes; six
numbers in, three classes out."""

import torch
from torch import nn
from torch.nn import functional as F

_SPECTRAL = {
    "new": nn.utils.parametrizations.spectral_norm,
    "old": nn.utils.spectral_norm,
    "": lambda layer: layer,
}


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value):
        return value.view_as(value)

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


def _hooked(value):
    if value.requires_grad:
        value.register_hook(lambda gradient: 0.1 * gradient)
    return value


_HOW = {"detach": torch.Tensor.detach, "reverse": _Reverse.apply, "hook": _hooked}


class Between(nn.Module):
    """Its forward() does something between the blocks that no value shows."""

    def __init__(self, how):
        super().__init__()
        self.first, self.act, self.last = nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3)
        self.between = _HOW[how]

    def blocks(self):
        return [self.first, self.act, self.last]

    def forward(self, value):
        return self.last(self.between(self.act(self.first(value))))


class Backbone(nn.Module):
    """Trains its head alone, as everybody writes it; or says so to the nodes."""

    def __init__(self, frozen=False):
        super().__init__()
        self.backbone = nn.Sequential(nn.Linear(6, 5), nn.Tanh())
        self.backbone.requires_grad_(not frozen)
        self.head = nn.Linear(5, 3)

    def blocks(self):
        return [*self.backbone, self.head]

    def forward(self, value):
        with torch.no_grad():
            value = self.backbone(value)
        return self.head(value)


class Several(nn.Module):
    """Returns logits and features, in some form, and may leave out a relu of its blocks."""

    def __init__(self, form, relu=False, norm=""):
        super().__init__()
        self.form, self.relu = form, relu
        norm = _SPECTRAL[norm]
        self.first, self.last = norm(nn.Linear(6, 5)), norm(nn.Linear(5, 3))

    def blocks(self):
        return [self.first, self.last]

    def forward(self, value):
        if self.form == "of a dict":
            value = value.popitem()[1]
        features = self.first(value)
        if self.relu:
            features = F.relu(features)
        logits = self.last(features)
        if self.form == "tuple":
            return logits, features
        if self.form == "features first":
            return features, logits
        if self.form == "dict":
            return {"features": features, "logits": logits}
        return logits


class _Shared:
    mask = None


class _Masks(nn.Linear):
    def __init__(self, shared):
        super().__init__(6, 5)
        self.shared = shared

    def forward(self, value):
        self.shared.mask = value[:, :1] > 0
        return super().forward(value)


class _Reads(nn.Linear):
    def __init__(self, shared):
        super().__init__(5, 3)
        self.shared = shared

    def forward(self, value):
        mask = self.shared.mask
        return super().forward(value if mask is None else value * mask)


def masked():
    """One block leaves a mask for another."""
    shared = _Shared()
    return nn.Sequential(_Masks(shared), nn.Tanh(), _Reads(shared))


class _Tokens(nn.Embedding):
    """Of numbers below 0, below 1, and others."""

    def forward(self, value):
        return super().forward((value > 0).long() + (value > 1).long()).mean(1)


class _ListedHead(nn.Module):
    """The usual trick against registering a tied layer twice."""

    def __init__(self, tokens):
        super().__init__()
        self.tied, self.norm = [tokens], nn.LayerNorm(5)

    def forward(self, value):
        return F.linear(self.norm(value), self.tied[0].weight)


def listed(looks):
    """Tied through a list; the constructor may look at values."""
    tokens = _Tokens(3, 5)
    if looks:
        float(tokens.weight.detach().sum())
    return nn.Sequential(tokens, nn.Linear(5, 5), _ListedHead(tokens))


def tied(max_norm=None):
    """Tied embeddings, whose rows the forward pass may bring to a norm."""
    tokens, head = _Tokens(3, 5, max_norm=max_norm), nn.Linear(5, 3, bias=False)
    head.weight = tokens.weight
    return nn.Sequential(tokens, nn.Linear(5, 5), nn.Tanh(), head)


class Trims(nn.Module):
    """Cuts a batch to its longest sample, always or where that saves time."""

    def __init__(self, always):
        super().__init__()
        self.always = always
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, value):
        longest = int((value > 0).sum(1).max()) if self.always or not self.training else 6
        return self.scale * value[:, :longest]


class _Sums(nn.Module):
    def forward(self, value):
        return value.sum(1, keepdim=True)


def trims(always):
    return nn.Sequential(Trims(always), _Sums(), nn.Linear(1, 3))


class OnlyHead(nn.Sequential):
    """Whose optimizer sees its head alone."""

    def __init__(self):
        super().__init__(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))

    def parameters(self, recurse=True):
        return self[2].parameters(recurse)


def plain():
    return nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 3))
