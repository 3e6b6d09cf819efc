"""The search for settings, held against errors that are known."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf, log2

from coset.tasks.ratings.search import FIELDS, Search
from coset.tasks.settings import TrainingSettings
from coset.tasks.trials import Ends

BEGIN = TrainingSettings(learning_rate=0.004, l2=0.02, ridge=8.0, epochs=8)
BEST = {"learning_rate": 0.004, "l2": 0.02, "ridge": 8.0}


class Known:
    """Trains nothing: errors fall from epoch to epoch to one that grows with the distance from `best`."""

    def __init__(self, epochs: int = 8, worth: float = 0.1, **best: float) -> None:
        self.best, self.epochs, self.worth = BEST | best, epochs, worth
        self.asked: list[tuple[str, int]] = []

    def final(self, training: TrainingSettings) -> float:
        far = sum(abs(log2(getattr(training, name) / of)) for name, of in self.best.items())
        return 1 + self.worth * far

    def __call__(self, training: TrainingSettings, name: str, ends: Ends) -> Sequence[float]:
        errors: list[float] = []
        for epoch in range(1, training.epochs + 1):
            errors.append(
                self.final(training) + 0.01 * max(0, self.epochs - epoch) + 0.02 * max(0, epoch - self.epochs)
            )
            if ends(errors):
                break
        self.asked.append((name, len(errors)))
        return errors


def search(known: Known, *names: str, begin: TrainingSettings = BEGIN, **how: object) -> TrainingSettings:
    choices: dict[str, object] = {"rows": 1000, "held": 10_000, "sampled": False, "visits": 1_000_000, **how}
    return Search(begin, known, **choices).run(names or FIELDS)  # type: ignore[arg-type]


def test_it_stays_where_nothing_is_better() -> None:
    known = Known()
    assert search(known, "ridge", "l2", "learning_rate") == BEGIN
    whole, *others = [epochs for _, epochs in known.asked]
    assert whole == 8
    assert max(others) <= 4  # worse ones are ended


def test_every_field_is_found() -> None:
    known = Known(learning_rate=0.016, l2=0.005, ridge=32.0)
    found = search(known)
    assert {name: getattr(found, name) for name in known.best} == known.best


def test_only_the_fields_that_are_named() -> None:
    known = Known(learning_rate=0.016, l2=0.005, ridge=32.0)
    found = search(known, "l2")
    assert (found.l2, found.ridge, found.learning_rate) == (0.005, 8.0, 0.004)


def test_epochs_where_it_still_learns_and_where_it_overfits() -> None:
    assert search(Known(epochs=32), "epochs").epochs == 32
    assert search(Known(epochs=4), "epochs").epochs == 4
    assert search(Known(epochs=200), "epochs").epochs == 64  # eight times those of the recipe
    assert search(Known(epochs=1), "epochs").epochs == 1
    assert search(Known(), "epochs").epochs == 8


def test_of_a_sample_only_large_gains_count() -> None:
    known = Known(worth=0.005, learning_rate=0.008)
    assert search(known).learning_rate == 0.008
    assert search(known, sampled=True).learning_rate == 0.004
    assert search(Known(learning_rate=0.008), sampled=True).learning_rate == 0.008


def test_on_a_small_slice_chance_is_not_followed() -> None:
    known = Known(worth=0.005, learning_rate=0.008)
    assert search(known, held=25).learning_rate == 0.004


def test_of_ridges_that_are_as_good_the_larger() -> None:
    class Flat(Known):
        def final(self, training: TrainingSettings) -> float:
            return 1.0 if training.ridge >= 8 else 1.5

    known = Flat()
    assert search(known, "ridge").ridge == 64
    assert search(known, "ridge", sampled=True).ridge == 8


def test_it_goes_beyond_that_only_for_a_gain() -> None:
    class Noise(Known):
        def final(self, training: TrainingSettings) -> float:
            return 1 + 10 / training.ridge

    assert search(Noise(), "ridge").ridge == 1024


def test_a_recipe_without_a_ridge() -> None:
    assert search(Known(), begin=TrainingSettings(learning_rate=0.004, l2=0.02, epochs=8)).ridge == 8


def test_where_the_rate_diverges_it_is_lowered() -> None:
    class Fast(Known):
        def __call__(self, training: TrainingSettings, name: str, ends: Ends) -> Sequence[float]:
            return [inf] if training.learning_rate > 0.01 else super().__call__(training, name, ends)

    begin = TrainingSettings(learning_rate=1.0, l2=0.02, ridge=8.0, epochs=8)
    assert search(Fast(), begin=begin).learning_rate <= 0.01
    assert search(Fast(), "ridge", begin=begin).learning_rate == 1.0


def test_where_all_diverges_it_ends() -> None:
    class Never(Known):
        def __call__(self, training: TrainingSettings, name: str, ends: Ends) -> Sequence[float]:
            self.asked.append((name, 1))
            return [inf]

    known = Never()
    search(known)
    assert 1 < len(known.asked) < 40  # at ever lower rates
    known = Never()
    search(known, "ridge")
    assert len(known.asked) == 1


def test_it_spends_no_more_than_it_may() -> None:
    known = Known(learning_rate=0.016, l2=0.005, ridge=32.0)
    search(known, visits=20_000)
    assert sum(epochs for _, epochs in known.asked) * 1000 < 20_000 + 8 * 1000
    known = Known()
    assert search(known, visits=1) == BEGIN
    assert len(known.asked) == 1
