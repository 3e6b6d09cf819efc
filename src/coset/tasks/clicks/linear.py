"""The linear model by hashing that clicks are compared with, fitted to prepared data with settings that it chooses on
their training part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, product
from math import ceil, log2

import numpy as np

from coset.data.clicks import ClickBatch, ClickData
from coset.models.hashed_linear import HashedLinear, HashedRows, LinearChoice, hashed

ALPHAS = (0.03, 0.1, 0.3)
PENALTIES = (1.0, 10.0, 100.0)
"""The λ to choose from; at the last, an id is held back as by a hundred rows."""
MOST_EPOCHS = 4
_BATCH = 256
_READ = 16 * _BATCH
"""Rows that are hashed at once."""
_PASSED = 4_000_000
"""Most rows that all epochs pass together, where one epoch is not more."""
_SAMPLE = 50_000
"""Most rows that settings are chosen on: 80 % of them learn, and the ones after these judge."""
_LEARN = 0.8
_FEWEST_BITS, _MOST_BITS = 8, 22
_SMALLER = 4
"""Bits between the two sizes."""


def sizes(data: ClickData) -> list[int]:
    """The bits of a large and of a small model: about a weight an id, and a sixteenth of that.

    Weights of 22 bits, 16.8 MB, are the most, and of 8 bits the fewest.
    """
    ids = sum(of.num_embeddings for of in data.features)
    large = min(max(ceil(log2(ids)), _FEWEST_BITS), _MOST_BITS)
    return sorted({large, max(large - _SMALLER, _FEWEST_BITS)}, reverse=True)


def fitted(data: ClickData, bits: int, rate: float) -> HashedLinear:
    """The model of that size, fitted to the training part.

    Args:
        data: prepared clicks.
        bits: it has 2^bits weights for ids.
        rate: the share of clicks in the training part, in (0, 1).
    """
    choice = chosen(data, bits, rate)
    model = HashedLinear(bits, len(data.numeric), rate, choice)
    part = data.part("training")
    for epoch in range(min(choice.epochs, max(1, _PASSED // len(part)))):
        for rows in rows_of(data, part.batches(_READ, seed=0, epoch=epoch), bits):
            model.fit(rows.batches(_BATCH))
    return model


def chosen(data: ClickData, bits: int, rate: float) -> LinearChoice:
    """The settings that suit the first rows of the training part best: learned from the first of these, judged by
    those after them. `LinearChoice()` where there are too few rows, or all that judge have one label."""
    part = data.part("training")
    read = islice(part.batches(_READ, read_ahead=0), -(-_SAMPLE // _READ))
    batches = [batch for rows in rows_of(data, read, bits) for batch in rows.batches(_BATCH)]
    learn = round(_LEARN * len(batches))
    if not 0 < learn < len(batches):
        return LinearChoice()
    known, later = batches[:learn], batches[learn:]
    labels = np.concatenate([of.labels for of in later])
    if labels.min() == labels.max():
        return LinearChoice()
    found: list[tuple[float, LinearChoice]] = []
    for alpha, penalty in product(ALPHAS, PENALTIES):
        found.append(_curve(HashedLinear(bits, len(data.numeric), rate, LinearChoice(alpha, penalty)), known, later))
    return min(found, key=lambda of: of[0])[1]


def rows_of(data: ClickData, batches: Iterable[ClickBatch], bits: int) -> Iterator[HashedRows]:
    """Batches of data as the model takes them."""
    for batch in batches:
        lists = (batch.bags[name] for name in data.multi_hot)
        bags = [(ids.numpy(), begins.numpy()) for ids, begins in lists]
        yield hashed(batch.labels.numpy(), batch.numeric.numpy(), batch.ids.numpy(), bags, bits)


def _curve(model: HashedLinear, known: Sequence[HashedRows], later: Sequence[HashedRows]) -> tuple[float, LinearChoice]:
    """The best log-loss of a fit, and the settings with its number of epochs; it ends once an epoch is no gain."""
    best, epochs = np.inf, 1
    for epoch in range(1, MOST_EPOCHS + 1):
        model.fit(known)
        loss = _loss(model, later)
        if not loss < best:
            break
        best, epochs = loss, epoch
    return best, LinearChoice(model.choice.alpha, model.choice.l2, epochs)


def _loss(model: HashedLinear, batches: Sequence[HashedRows]) -> float:
    """The mean log-loss."""
    logits, labels = (np.concatenate(of) for of in zip(*((model.logits(of), of.labels) for of in batches), strict=True))
    return float((np.logaddexp(0.0, logits) - labels * logits).mean())
