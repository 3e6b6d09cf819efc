"""A synthetic twin of Criteo's click logs, for use without the real ones, with a known best log-loss.

A row's logit is a sum of planted terms: an effect of every id, products of latent factors of every pair of ids, and a
smooth function of the numbers. A hash of `(feature, id)` gives all of them, so a table of 10 million ids takes no
memory. The law knows the probability of each click, and so the log-loss of the best predictor.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from coset import settings
from coset.data import draws
from coset.data.built_in import TWIN
from coset.data.clicks.store import ClickData, Feature
from coset.data.clicks.write import ClickWriter
from coset.errors import InputError

CRITEO_KAGGLE_CARDINALITIES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306,
    10, 5652, 2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
"""Ids of the 26 categorical features of Criteo's Kaggle data, 33,762,577 in all (Shi et al., 2019)."""

BLOCK = 1 << 16
"""Rows that are drawn together; row n of a twin is the same however many rows there are."""

# Variances of the parts of the logit, over rows. They were chosen so that the best log-loss lies where that of real
# click models does, 0.45, at the real share of clicks.
_EFFECTS, _FACTORS, _NUMBERS = 1.0, 0.5, 0.4
_CLICKS = 0.256  # share of clicks in Criteo's Kaggle data
_RANK = 3  # of the products: with the effect, four planted values an id, the quarters of one hashed word
# Rare ids have smaller effects than frequent ones: at rank r, by a factor of (1 + r / 1000) ** -0.25.
_FADE, _POWER = 1000, -0.25

_ROWS, _LAW, _PROBE = range(3)


class Drawn(NamedTuple):
    """Some rows of a twin.

    Args:
        labels: 0 or 1.
        numeric: float32, shape `(rows, numeric columns)`.
        ids: int64, shape `(features, rows)`.
        probabilities: those that the labels were drawn with.
    """

    labels: np.ndarray
    numeric: np.ndarray
    ids: np.ndarray
    probabilities: np.ndarray


@dataclass(frozen=True)
class ClickLaw:
    """The law of a synthetic twin.

    Args:
        cardinalities: ids of each feature; they are called C1, C2 …
        num_numeric: numeric columns, standard normal; they are called I1, I2 …
        skew: exponent of Zipf's law: the id r has a share of about (r + 1) ** -skew, so ids are in order of popularity,
            as those of a vocabulary are; 0 makes all ids equally frequent.
        seed: of effects and rows.

    Example:
        >>> law = ClickLaw((1000, 20), num_numeric=2)
        >>> rows = law.block(0)
        >>> rows.ids.shape, law.logits(rows.numeric, rows.ids).shape
        ((2, 65536), (65536,))
    """

    cardinalities: tuple[int, ...] = CRITEO_KAGGLE_CARDINALITIES
    num_numeric: int = 13
    skew: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        settings.check(self, "synthetic-clicks")
        object.__setattr__(self, "cardinalities", tuple(self.cardinalities))
        if not self.cardinalities:
            raise InputError("synthetic-clicks: cardinalities must name at least one feature")
        for size in self.cardinalities:
            if not 1 <= size <= 2**40:
                raise InputError(f"synthetic-clicks: cardinalities must be in 1 … 2^40, not {size}")
        if not 0 <= self.skew <= 10:
            raise InputError(f"synthetic-clicks: skew must be in 0 … 10, not {self.skew}")
        for what, value in (("num_numeric", self.num_numeric), ("seed", self.seed)):
            if value < 0:
                raise InputError(f"synthetic-clicks: {what} must be 0 or more, not {value}")

    def block(self, number: int) -> Drawn:
        """The rows `number · BLOCK …` of the twin, `BLOCK` of them."""
        numeric, ids, uniform = self._inputs(_ROWS, number)
        probabilities = 1 / (1 + np.exp(-self.logits(numeric, ids)))
        return Drawn((uniform < probabilities).astype(np.uint8), numeric, ids, probabilities)

    def logits(self, numeric: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The true logit of a click in each row.

        Args:
            numeric: shape `(rows, num_numeric)`.
            ids: shape `(features, rows)`.
        """
        return self._intercept + self._planted(numeric, ids)

    def _planted(self, numeric: np.ndarray, ids: np.ndarray) -> np.ndarray:
        """The logit without its intercept."""
        count, pairs = len(ids), max(1, len(ids) * (len(ids) - 1) // 2)
        effects = np.zeros(ids.shape[1])
        factors, squares = np.zeros((_RANK, ids.shape[1])), np.zeros(ids.shape[1])
        for feature, column in enumerate(ids):
            values = self._values(feature, column)
            effects += values[0]
            factors += values[1:]
            squares += np.square(values[1:]).sum(axis=0)
        # (Σ v)² - Σ v² is twice the sum over pairs.
        products = (np.square(factors).sum(axis=0) - squares) / 2
        found = effects * np.sqrt(_EFFECTS / count) + products * np.sqrt(_FACTORS / (pairs * _RANK))
        linear, bent = self._slopes
        wide = numeric.astype(np.float64)
        found += wide @ linear + (np.square(wide) - 1) @ bent
        return np.asarray(found)

    def _values(self, feature: int, ids: np.ndarray) -> np.ndarray:
        """Four planted values of each id, shape `(4, ids)`: uniform, of mean 0 and variance 1 before they fade."""
        # The generator SplitMix64 (Steele, Lea and Flood, 2014), entered at the place of the id.
        words = _mixed(ids.astype(np.uint64) * _GOLDEN + self._keys[feature])
        quarters = (words >> np.arange(0, 64, 16, dtype=np.uint64)[:, None]) & np.uint64(0xFFFF)
        fade = (1 + ids / _FADE) ** _POWER
        return np.asarray((quarters + 0.5 - 2.0**15) * (np.sqrt(12) * 2.0**-16) * fade)

    @cached_property
    def _keys(self) -> np.ndarray:
        return np.asarray(draws.stream([self.seed, _LAW, 0]).random_raw(len(self.cardinalities)))

    @cached_property
    def _slopes(self) -> tuple[np.ndarray, np.ndarray]:
        """Factors of the numbers and of their squares, less 1."""
        drawn = draws.normals(draws.stream([self.seed, _LAW, 1]), 2 * self.num_numeric).reshape(2, -1)
        variance = np.square(drawn[0]).sum() + 2 * np.square(drawn[1]).sum()
        linear, bent = drawn * np.sqrt(_NUMBERS / variance) if self.num_numeric else drawn
        return linear, bent

    @cached_property
    def _intercept(self) -> float:
        """The intercept that gives the share of clicks of real data, found on rows that are never written."""
        numeric, ids, _ = self._inputs(_PROBE, 0)
        planted = self._planted(numeric, ids)
        low, high = -50.0, 50.0
        for _ in range(60):
            middle = (low + high) / 2
            few = (1 / (1 + np.exp(-middle - planted))).mean() < _CLICKS
            low, high = (middle, high) if few else (low, middle)
        return low

    def _inputs(self, purpose: int, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Numbers, ids and the uniform numbers that decide on labels."""
        source = draws.stream([self.seed, purpose, number])
        ids = np.stack([_zipf(draws.uniforms(source, BLOCK), n, self.skew) for n in self.cardinalities])
        numeric = draws.normals(source, BLOCK * self.num_numeric).astype(np.float32)
        return numeric.reshape(BLOCK, self.num_numeric), ids, draws.uniforms(source, BLOCK)


def write_synthetic(
    out: str | Path,
    rows: int,
    cardinalities: Sequence[int] = CRITEO_KAGGLE_CARDINALITIES,
    seed: int = 0,
    *,
    num_numeric: int = 13,
    skew: float = 1.0,
    validation: float = 0.1,
    progress: Callable[[int], None] | None = None,
) -> ClickData:
    """Write the synthetic twin of that seed as prepared data; memory is that of one block and of the counts of ids.

    Its `facts` have the score of the best predictor: `best_log_loss`, the mean entropy of the true probabilities over
    the validation rows (the training rows, where there are none), which no predictor beats in expectation; and
    `oracle_log_loss`, the log-loss of the true probabilities on the drawn labels.

    Args:
        out: a folder, empty or missing.
        rows: number of rows.
        cardinalities, seed, num_numeric, skew: see `ClickLaw`.
        validation: share of the rows, the last ones, that validate.
        progress: called with the number of rows that were written, after each block.

    Raises:
        InputError: an invalid choice, or a folder that is not empty.

    Example:
        >>> import tempfile
        >>> data = write_synthetic(tempfile.mkdtemp(), 70_000, (50, 20, 1000))
        >>> data.parts, 0.4 < data.facts["best_log_loss"] < 0.5
        ({'training': 63000, 'validation': 7000}, True)
    """
    law = ClickLaw(cardinalities, num_numeric, skew, seed)  # type: ignore[arg-type]
    validation = settings.number("synthetic-clicks: validation", validation)
    if not 0 <= validation < 1:
        raise InputError(f"synthetic-clicks: validation must be a share of 0 … 1, 1 excluded, not {validation}")
    rows = settings.whole("synthetic-clicks: rows", rows, 1, 2**40)
    training = rows - int(rows * validation)
    features = [Feature(f"C{number}", size) for number, size in enumerate(law.cardinalities, 1)]
    numeric = [f"I{number}" for number in range(1, num_numeric + 1)]
    facts = {"law": settings.plain(law), "validation": validation}
    with ClickWriter(out, TWIN, numeric, features, synthetic=True, facts=facts) as writer:
        sums = {"training": np.zeros(2), "validation": np.zeros(2)}
        for start in range(0, rows, BLOCK):
            drawn = law.block(start // BLOCK)
            ends = (min(max(training - start, 0), BLOCK), min(rows - start, BLOCK))
            for part, cut in (("training", slice(0, ends[0])), ("validation", slice(*ends))):
                if cut.start < cut.stop:
                    labels, of = drawn.labels[cut], drawn.probabilities[cut]
                    writer.append(part, labels, drawn.numeric[cut], drawn.ids[:, cut])
                    sums[part] += _losses(of, of).sum(), _losses(of, labels).sum()
            if progress is not None:
                progress(ends[1])
        part, count = ("validation", rows - training) if rows > training else ("training", training)
        best, oracle = (sums[part] / count).tolist()
        writer.facts |= {"best_log_loss": best, "oracle_log_loss": oracle, "best_of": part}
    return ClickData.open(out)


def _losses(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Log-loss of each row; the expected one, where labels are probabilities."""
    clicks = labels.astype(np.float64)
    return np.asarray(-clicks * np.log(probabilities) - (1 - clicks) * np.log1p(-probabilities))


def _zipf(uniform: np.ndarray, size: int, skew: float) -> np.ndarray:
    """Ids by Zipf's law: the whole part of a continuous variable of density x ** -skew from 1 to size + 1."""
    if skew == 1:
        ranks = np.exp(uniform * np.log(size + 1.0))
    else:
        power = 1 - skew
        ranks = (1 + uniform * ((size + 1.0) ** power - 1)) ** (1 / power)
    return np.asarray(np.minimum(ranks.astype(np.int64), size) - 1)


_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


def _mixed(words: np.ndarray) -> np.ndarray:
    """The mixing of SplitMix64; products wrap."""
    words = (words ^ (words >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    words = (words ^ (words >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.asarray(words ^ (words >> np.uint64(31)))
