"""What ratings choose themselves."""

from __future__ import annotations

from math import inf
from pathlib import Path

import numpy as np
import pytest

from coset.data import Ratings
from coset.data.long_tail import long_tail_ratings
from coset.errors import InputError
from coset.experiments.changes import changed
from coset.experiments.recipe import load_recipe
from coset.experiments.tune import tuned
from coset.tasks.ratings import tuning
from coset.tasks.ratings.tuning import RIDGES, bias_ridge, climbed, sample


@pytest.mark.parametrize("best", RIDGES)
def test_the_search_ends_at_the_best(best: float) -> None:
    asked: list[float] = []

    def error(ridge: float) -> float:
        asked.append(ridge)
        return 1 + abs(np.log(ridge / best))

    assert climbed(error) == best
    assert len(asked) == len(set(asked)) <= 5


def test_below_a_plateau_it_looks_downwards() -> None:
    assert climbed(lambda ridge: min(3.0 + 0.01 * ridge, 3.07)) == 2


def test_of_equal_errors_the_largest() -> None:
    assert climbed(lambda ridge: 0.9 if ridge < 8 else 0.8) == RIDGES[-1]
    assert climbed(lambda ridge: 0.8 + 1e-6 * ridge) == RIDGES[-1]


def test_on_a_sample_equal_errors_change_nothing() -> None:
    assert climbed(lambda ridge: 0.8, cautious=False) == RIDGES[2]
    assert climbed(lambda ridge: 0.9 - 0.01 * min(ridge, 16), cautious=False) == 16
    assert climbed(lambda ridge: 0.8 + 0.01 * ridge, cautious=False) == RIDGES[0]


def test_a_sample_has_all_ratings_of_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small()
    assert sample(data, 0) is data
    monkeypatch.setattr(tuning, "MOST_ROWS", 500)
    found = sample(data, 0)
    counts = dict(zip(*np.unique(data.users, return_counts=True), strict=True))
    users, here = np.unique(found.users, return_counts=True)
    assert all(counts[user] == count for user, count in zip(users, here, strict=True))
    assert 500 <= len(found) < 600
    assert np.array_equal(sample(data, 0).users, found.users)
    assert not np.array_equal(sample(data, 1).users, found.users)


def test_where_all_diverge_any_will_do() -> None:
    assert climbed(lambda ridge: inf) in RIDGES


def small(rows: int = 3000, seed: int = 0) -> Ratings:
    """A piece of the long tail."""
    found = long_tail_ratings(seed)
    return found.select(np.arange(rows))


def test_the_ridge_of_biases_does_not_depend_on_the_order_of_ratings() -> None:
    data = small()
    backwards = data.select(np.arange(len(data))[::-1])
    assert bias_ridge(data) == bias_ridge(backwards)


def recipe_of(*changes: str, **options: bool):  # type: ignore[no-untyped-def]
    return changed(load_recipe("ratings"), ["model.embedding_dim=2", "training.epochs=2", *changes], **options)  # type: ignore[arg-type]


def test_the_choice_is_written_into_the_recipe(tmp_path: Path) -> None:
    data = small()
    found = tuned(recipe_of(), data, tmp_path)
    training = found.task.training
    assert training.bias_ridge == bias_ridge(data.select(found.task.split.split(data, 0).training))
    assert training.ridge in RIDGES
    assert found.tune == ()
    (note,) = found.notes
    assert note.startswith("Chosen on the training part by ")
    assert f"ridge {training.ridge:g}" in note
    trained = sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.json"))
    assert tuned(recipe_of(), data, tmp_path) == found
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.rglob("metrics.json")) == trained  # nothing again


def test_what_a_user_sets_wins(tmp_path: Path) -> None:
    data = small()
    found = tuned(recipe_of("training.ridge=3"), data, tmp_path)
    assert found.task.training.ridge == 3
    user, item = found.task.training.bias_ridge
    assert found.notes == (f"Chosen on the training part: bias_ridge {user:g} and {item:g}.",)
    assert not list(tmp_path.rglob("metrics.json"))
    both = recipe_of("training.ridge=3", "training.bias_ridge=[2, 9]")
    assert tuned(both, data, tmp_path) == both
    asis = recipe_of(tune=False)
    assert tuned(asis, data, tmp_path) == asis


def test_the_validation_part_is_not_read(tmp_path: Path) -> None:
    data = small()
    split = recipe_of().task.split.split(data, 0)
    changed_ratings = data.ratings.copy()
    changed_ratings[split.validation] = 1
    other = Ratings(data.name, data.users, data.items, changed_ratings)
    first, second = (tuned(recipe_of(), of, tmp_path / name) for name, of in (("a", data), ("b", other)))
    assert first.task.training == second.task.training


@pytest.mark.parametrize("rows", [4, 10, 40])
def test_of_few_ratings_no_slice_is_held_out(tmp_path: Path, rows: int) -> None:
    found = tuned(recipe_of(), small(rows), tmp_path)
    assert found.task.training.ridge == load_recipe("ratings").task.training.ridge
    assert not list(tmp_path.rglob("metrics.json"))


def test_a_split_that_holds_out_the_last_row_of_a_user(tmp_path: Path) -> None:
    data = small()
    timed = Ratings(data.name, data.users, data.items, data.ratings, times=np.arange(len(data)))
    assert tuned(recipe_of("split.kind=last"), timed, tmp_path).notes


def test_a_damaged_training_of_the_search_is_trained_again(tmp_path: Path) -> None:
    found = tuned(recipe_of(), small(), tmp_path)
    for path in tmp_path.rglob("metrics.json"):
        path.write_text("{")
    assert tuned(recipe_of(), small(), tmp_path) == found


def test_a_model_without_biases_has_no_ridge_of_them(tmp_path: Path) -> None:
    found = tuned(recipe_of("model.biases=false"), small(), tmp_path)
    assert found.task.training.bias_ridge == load_recipe("ratings").task.training.bias_ridge
    assert "bias_ridge" not in found.notes[0]


def test_a_search_that_only_diverges(tmp_path: Path) -> None:
    with pytest.raises(
        InputError, match="every short training that was to choose settings diverged, the last as follows: "
    ):
        tuned(recipe_of("training.learning_rate=1e30", "training.optimizer=sgd"), small(), tmp_path)


def test_a_field_that_is_not_chosen(tmp_path: Path) -> None:
    from dataclasses import replace

    with pytest.raises(InputError, match="ratings choose ridge and bias_ridge by themselves, not 'epochs'"):
        tuned(replace(recipe_of(), tune=("epochs",)), small(), tmp_path)
    clicks = replace(load_recipe("clicks"), tune=("epochs",))
    with pytest.raises(InputError, match="the task clicks chooses no settings of training by itself, so not 'epochs'"):
        tuned(clicks, None, tmp_path)
