"""Updates of a round made without training, and their features by definition, for tests of the screen."""

import math

import numpy as np
import torch
from scipy.stats import rankdata

BLIND = {
    "suspect_wide": math.inf,
    "suspect_narrow": -math.inf,
    "suspect_level": math.inf,
    "suspect_size": math.inf,
    "suspect_small": -math.inf,
    "suspect_direction": -math.inf,
    "guilty_narrow": -math.inf,
    "narrow_size": -math.inf,
    "guilty_level": math.inf,
    "guilty_size": math.inf,
    "outside_size": math.inf,
    "guilty_direction": -math.inf,
    "apart": math.inf,
}


def honest(replicas, seed=0, common=1.0, coordinates=3000):
    """Work on a common task: the same direction for all, and each replica's own noise."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(coordinates, generator=generator)
    return common * direction + torch.randn(replicas, coordinates, generator=generator)


def turned_round(replicas, attackers, seed=0, coordinates=3000):
    """The attackers turn the mean of the others round, so that even these point against their peers."""
    updates = honest(replicas, seed, 0.5, coordinates)
    updates[:attackers] = honest(attackers, 5, 0.0, coordinates) - 10 * updates[attackers:].mean(dim=0)
    return updates


def noise(updates):
    return updates.mean(dim=0) + 30 * torch.randn(updates.shape[1], generator=torch.Generator().manual_seed(9))


ATTACKS = {
    "noise": (noise, "rank spread"),
    "sign flip": (lambda updates: -updates[1], "points against its peers"),
    "shift": (lambda updates: updates[1] + 1, "mean rank"),
    "a hundredfold": (lambda updates: 150 * updates[1], "times the size"),
    "mean of the others": (lambda updates: updates[2:].mean(dim=0), "rank spread"),
}


def nearer_middle(peers, own):
    """The median of the peers; of an even number the nearer of the middle two, and in between there is no departure."""
    order = sorted(peers)
    low, high = order[(len(order) - 1) // 2], order[len(order) // 2]
    return low if own < low else high if own > high else own


def plain_features(updates, i):
    """Spread, level, size and direction of row i, straight from their definitions."""
    rows = updates.double().numpy()
    peers = [j for j in range(len(rows)) if j != i]
    ranks = rankdata(rows, axis=0)
    means, stds, norms = ranks.mean(axis=1), ranks.std(axis=1, ddof=1), np.linalg.norm(rows, axis=1)
    cosines = [rows[i] @ rows[j] / (norms[i] * norms[j]) for j in peers]
    return {
        "spread": math.log(stds[i] / nearer_middle(stds[peers], stds[i])),
        "level": (means[i] - nearer_middle(means[peers], means[i])) / math.sqrt((stds**2).mean()),
        "size": math.log(norms[i] / nearer_middle(norms[peers], norms[i])),
        "direction": float(np.mean(cosines)),
    }


def uneven(replicas):
    """Updates whose features all differ clearly from zero."""
    updates = honest(replicas, coordinates=500)
    scales = torch.linspace(-1.4, 3, replicas).view(-1, 1)
    return updates * scales + 0.3 * scales
