"""The L2 penalty of the dot model: by lookup, and by id.

A looked-up vector of an id with n training rows has the weight l2 + λ / n, averaged over the rows of a batch. The
first part holds an id back as often as it is met (weighted λ, Zhou et al., 2008); the second adds up to λ times the sum
of its squares in an epoch however often that is, as in ridge regression, so that the less is known of an id, the
shorter its vector. Where histories are read, a rating looks each of the n items in its user's up by 1/n: in an epoch an
item is looked up once for each history that has it, and held back as the item of as many ratings is.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from coset.models.dot import DotModel, Scores
from coset.tasks.settings import TrainingSettings


def weights(training: TrainingSettings) -> tuple[float, float]:
    """l2 of vectors and of biases."""
    return training.l2, 0.0 if training.bias_ridge else training.l2


def ridges(training: TrainingSettings) -> tuple[float, float, float]:
    """λ of vectors, of the biases of users and of those of items."""
    users, items = training.bias_ridge or (0.0, 0.0)
    return training.ridge, users, items


def rarity(model: DotModel, training: TrainingSettings, dtype: torch.dtype) -> np.ndarray:
    """`DotModel.rarity` and `bias_rarity` as kernels take them; without columns where there is no λ."""
    found = torch.cat([model.rarity, model.bias_rarity]) if any(ridges(training)) else torch.ones(4, 0)
    return np.ascontiguousarray(found.to(dtype).numpy())


def penalty(model: DotModel, training: TrainingSettings, scores: Scores, users: Tensor, items: Tensor) -> Tensor | None:
    """The penalty of a batch, a scalar; None where there is none."""
    found = _of_pairs(model, training, scores, users, items)
    if scores.rated is None or found is None:
        return found
    (of_vectors, _), (ridge, *_) = weights(training), ridges(training)
    ids, squares, lookups = scores.rated
    weight = torch.full_like(squares, of_vectors)
    if ridge:
        weight = weight + ridge * model.rarity[1].to(squares.device, squares.dtype)[ids]
    return found + (weight * lookups * squares).sum() / len(users)


def _of_pairs(
    model: DotModel, training: TrainingSettings, scores: Scores, users: Tensor, items: Tensor
) -> Tensor | None:
    """That of the vectors and biases of the users and items of a batch."""
    (of_vectors, of_biases), (ridge, *own) = weights(training), ridges(training)
    if not any((ridge, *own)):
        return of_vectors * scores.squared_norm.mean() if of_vectors else None
    fixed, by_id, rarities = [of_biases] * 2, own, [*model.bias_rarity]
    if model.embeddings is not None:
        fixed, by_id = [of_vectors] * 2 + fixed, [ridge] * 2 + by_id
        rarities = [*model.rarity, *rarities]
    sides = scores.squares.shape[-1]
    device, dtype = scores.squares.device, scores.squares.dtype
    asked = zip(rarities[:sides], [users, items] * (sides // 2), strict=True)
    rare = torch.stack([of.to(device, dtype)[ids] for of, ids in asked], -1)
    weight = torch.tensor(fixed[:sides], device=device, dtype=dtype)
    weight = weight + torch.tensor(by_id[:sides], device=device, dtype=dtype) * rare
    return (weight * scores.squares).sum(-1).mean()
