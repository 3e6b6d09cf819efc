"""Tables of which some rows have missed steps, and how rows are brought to the last step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from coset.engine.fused import FusedEngine, Steps
from coset.kernels import updates
from coset.kernels.launch import exclusively
from coset.optimizers.history import History

_LONGEST = 1 << 16
"""All rows are brought up after this many steps, so that the record of steps stays short."""


class Behind(torch.optim.Optimizer):
    """Brings rows to the last step, where the optimizer is dense; with others no row is ever behind."""

    dense: bool = False
    """Whether rows without a gradient change, too."""

    engines: list[FusedEngine]
    """One for each collection."""
    _begun: int
    """The step to which all rows are brought."""
    _history: History
    """The record of the steps since then."""
    _numbers: np.ndarray
    """The same as kernels take it."""
    _precision: float
    _smallest: float

    @property
    def steps(self) -> int:
        """Steps taken."""
        return int(self.param_groups[0]["steps"])

    @torch.no_grad()
    def synchronize(self) -> None:
        """Bring every row to the last step. `state_dict` and `materialize` of the tables call it; call it before you
        read a parameter directly."""
        if not self.dense or self._begun == self.steps:
            return
        self._bring_all([engine.addresses() for engine in self.engines])

    def _bring_all(self, places: Sequence[np.ndarray]) -> None:
        def bring() -> None:
            for engine, arrays in zip(self.engines, places, strict=True):
                engine.bring_all(arrays, self._told(self.steps))
            self._begun = self.steps

        exclusively(wholly, bring)

    def behind(self) -> Steps | None:
        """The steps that rows may have missed; None where no row can be behind."""
        return self._told(self.steps) if self.dense and self._begun != self.steps else None

    def _told(self, now: int) -> Steps:
        return Steps(now, self._begun, self._numbers, *self._history.arrays)

    def _note(self, now: int, rates: Sequence[float]) -> None:
        """Record what step `now` does to rows, for those that are brought to it later."""
        if not self.dense:
            self._begun = now - 1
        elif now - 1 - self._begun >= _LONGEST or self._numbers is not self._new_numbers():
            self.synchronize()  # schedulers may change betas, which rows that missed earlier steps need
        self._numbers = self._new_numbers()
        first, second = self.param_groups[0]["betas"]
        self._history.put(
            now - 1 - self._begun,
            [rate / (1 - first**now) for rate in rates],
            (1 - second**now) ** -0.5,
            [1 - rate * group["weight_decay"] for rate, group in zip(rates, self.param_groups, strict=True)],
        )

    def _new_numbers(self) -> np.ndarray:
        group = self.param_groups[0]
        # Or it would be zero in this type, and 0/0 of a zero gradient NaN.
        eps = max(float(group["eps"]), self._smallest)
        return updates.numbers_of(eps, *map(float, group["betas"]), self._precision)


def wholly(work: Callable[[], None]) -> None:
    """Do all of `work`, whose parts may be repeated without harm; an interrupt from the keyboard waits."""
    waits: KeyboardInterrupt | None = None
    while True:
        try:
            work()
            break
        except KeyboardInterrupt as interrupt:
            waits = interrupt
    if waits is not None:
        raise waits
