"""The search for settings of training: one after the other is halved and doubled, as long as that pays.

It begins at the settings of the recipe, and a change must gain more than chance shows on the slice that it is held
against. A training that falls behind the best one until now at the same share of its epochs is ended there (successive
halving; Jamieson and Talwalkar, 2016, "Non-stochastic best arm identification and hyperparameter optimization"). No
clock is read, so the same data give the same choice on every machine: the cost is counted in visits, of one rating in
one epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import inf, sqrt
from typing import Any, Literal

from coset.models.climb import climbed
from coset.tasks.settings import TrainingSettings
from coset.tasks.trials import Ends

FIELDS = ("ridge", "l2", "learning_rate", "epochs")
"""Those that it chooses, in this order."""
_AS_GOOD = 5e-4
"""Errors within this share of each other are as good."""
_NOTICED = 1e-3
"""The least share of the error that a change must gain."""
_OF_SAMPLE = 1e-2
"""The same of `learning_rate`, `l2` and `epochs` where trials see a sample. Its items have fewer ratings than all rows
give them, and an epoch has fewer steps, so that small gains there may be losses elsewhere."""
_CHANCE = 0.15
"""Over the root of the rows of the slice: about the share of the error by which two trainings that are equally good
differ there."""
_HALFWAY, _SAME = 0.5, 1e-4
"""From there on, a training whose error is within this share of the best one's will end where that did."""
_BEHIND = ((0.25, 1e-2), (0.5, 3e-3))
"""From this share of its epochs on, a training that is worse by that share of the error is ended."""
_GAINS = 2e-3
"""The share of the error that the last fifth of the epochs must gain for more epochs to be tried."""
_LATE = 0.8
_LOWEST_RATE, _HIGHEST_RATE = 1e-6, 1.0
_LONGER = 8
"""How many times the epochs of the recipe it tries at most."""
_RIDGE, _MUCH_RIDGE, _NO_RIDGE = 8.0, 64.0, 1024.0
"""λ of vectors: where the search begins if the recipe has none, the largest that is taken where it is as good as
others, and the largest of all."""

Curve = Callable[[TrainingSettings, str, Ends], Sequence[float]]
"""The errors after the epochs of a training with these settings, of that name, that ends so."""


@dataclass
class Search:
    """A search.

    Args:
        training: the settings it begins with.
        curve: trains.
        rows: of a training.
        held: rows that its error is taken on.
        sampled: whether these are a sample of the rows that will be trained on.
        visits: after these it trains no more.
    """

    training: TrainingSettings
    curve: Curve
    rows: int
    held: int
    sampled: bool
    visits: int
    _best: Sequence[float] = ()
    _errors: dict[tuple[float, ...], float] = field(default_factory=dict)
    _spent: int = 0

    def run(self, names: Sequence[str]) -> TrainingSettings:
        """The settings with the fields of these names chosen, of `FIELDS`."""
        begin = self.training
        if "ridge" in names and not begin.ridge:
            self.training = replace(begin, ridge=_RIDGE)
        while self._error(self.training, f"learning_rate {self.training.learning_rate:g}") == inf:
            if not self._may_slow_down(names):
                return self.training
            self.training = replace(self.training, learning_rate=self.training.learning_rate / 4)
        chance = _CHANCE / sqrt(self.held)
        gain = max(_OF_SAMPLE if self.sampled else _NOTICED, chance)
        if "ridge" in names:
            # Of those that are as good, the larger λ, which learns less noise. On a sample all may be as good where all
            # rows would show a difference, so there a change must show.
            one = max(_AS_GOOD, chance if self.sampled else chance / 2)
            self._climb("ridge", gain=one, up=one if self.sampled else -one, most=_MUCH_RIDGE)
            if 2 * self.training.ridge > _MUCH_RIDGE:
                self._climb("ridge", gain=one, most=_NO_RIDGE)
        if "l2" in names and self.training.l2:
            self._climb("l2", gain=gain)
        if "learning_rate" in names:
            self._climb("learning_rate", gain=gain, least=_LOWEST_RATE, most=_HIGHEST_RATE)
        if "epochs" in names:
            self._epochs(gain)
        return self.training

    def _may_slow_down(self, names: Sequence[str]) -> bool:
        return "learning_rate" in names and self.training.learning_rate > _LOWEST_RATE and self._spent < self.visits

    def _climb(self, name: str, **how: float) -> None:
        """Choose one field, from its value on."""
        begin = self.training

        def error(value: float) -> float:
            return self._error(_having(begin, name, value), f"{name} {value:g}")

        best = climbed(error, getattr(begin, name), **how)
        self.training = _having(begin, name, best)

    def _epochs(self, gain: float) -> None:
        """Half as many where the error was best long before the last, and twice as many, once or more, where it still
        got better in the last."""
        most = _LONGER * self.training.epochs
        while (curve := self._best) and self.training.epochs > 1:
            late = curve[max(0, int(_LATE * len(curve)) - 1)]
            if curve[-1] > min(curve) * (1 + gain):
                epochs = -(-self.training.epochs // 2)
            elif late > curve[-1] * (1 + _GAINS) and 2 * self.training.epochs <= most:
                epochs = 2 * self.training.epochs
            else:
                return
            known = self._errors[_key(self.training)]
            other = replace(self.training, epochs=epochs)
            if _key(other) in self._errors or not self._error(other, f"epochs {epochs}") < known * (1 - gain):
                return
            self.training = other

    def _error(self, training: TrainingSettings, name: str) -> float:
        """Of a training, or where it would be one too many, infinite; the best one until now is what later ones are
        held against."""
        key = _key(training)
        if key not in self._errors:
            self._errors[key] = self._tried(training, name)
        return self._errors[key]

    def _tried(self, training: TrainingSettings, name: str) -> float:
        if self._spent >= self.visits:
            return inf
        best, epochs = self._best, training.epochs
        found = self.curve(training, name, lambda errors: _standing(errors, epochs, best) != "going")
        self._spent += len(found) * self.rows
        if found[-1] == inf:
            return inf
        if len(found) < epochs:
            return best[-1] if _standing(found, epochs, best) == "same" else inf
        if not best or found[-1] < best[-1]:
            self._best = found
        return found[-1]


def _standing(errors: Sequence[float], epochs: int, best: Sequence[float]) -> Literal["going", "behind", "same"]:
    """How a training of so many epochs stands against the best one until now."""
    share, now = len(errors) / epochs, errors[-1]
    if share >= 1 or epochs < len(best) or not best:  # fewer epochs are behind until their last
        return "going"
    there = best[max(0, int(share * len(best)) - 1)]
    if any(share >= since and now > there * (1 + by) for since, by in _BEHIND):
        return "behind"
    if share >= _HALFWAY and epochs == len(best) and abs(now - there) <= _SAME * there:
        return "same"
    return "going"


def _having(training: TrainingSettings, name: str, value: float) -> TrainingSettings:
    changes: dict[str, Any] = {name: value}
    return replace(training, **changes)


def _key(training: TrainingSettings) -> tuple[float, ...]:
    return tuple(float(getattr(training, name)) for name in FIELDS)
