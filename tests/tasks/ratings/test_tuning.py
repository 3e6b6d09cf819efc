"""What ratings choose themselves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from coset.data import Ratings
from coset.data.encoded import encode
from coset.data.long_tail import long_tail_ratings
from coset.data.splits import Split
from coset.errors import InputError
from coset.experiments.changes import changed
from coset.experiments.recipe import load_recipe
from coset.experiments.tune import tuned
from coset.tasks.ratings import tuning
from coset.tasks.ratings.tuning import CHOSEN, bias_ridge, sample


def test_a_sample_has_all_ratings_of_its_users(monkeypatch: pytest.MonkeyPatch) -> None:
    data = small()
    assert sample(data, 10, 0) is data
    monkeypatch.setattr(tuning, "MOST_ROWS", 600)
    monkeypatch.setattr(tuning, "LEAST_OF_SAMPLE", 5 * 10 * 500)
    found = sample(data, 10, 0)
    counts = dict(zip(*np.unique(data.users, return_counts=True), strict=True))
    users, here = np.unique(found.users, return_counts=True)
    assert all(counts[user] == count for user, count in zip(users, here, strict=True))
    assert 500 <= len(found) < 700
    assert np.array_equal(sample(data, 10, 0).users, found.users)
    assert not np.array_equal(sample(data, 10, 1).users, found.users)


def small(rows: int = 3000, seed: int = 0) -> Ratings:
    """A piece of the long tail."""
    found = long_tail_ratings(seed)
    return found.select(np.arange(rows))


def test_the_ridge_of_biases_does_not_depend_on_the_order_of_ratings() -> None:
    data = small()
    split = Split(np.arange(2500), np.arange(2500, 3000))
    turned = Split(np.arange(500, 3000), np.arange(500))
    backwards = data.select(np.arange(len(data))[::-1])
    assert bias_ridge(encode(data, split)) == bias_ridge(encode(backwards, turned))


def recipe_of(*changes: str, epochs: int = 2, **options: bool):  # type: ignore[no-untyped-def]
    """That of ratings, with epochs that are chosen, too."""
    found = changed(load_recipe("ratings"), ["model.embedding_dim=2"], **options)  # type: ignore[arg-type]
    return changed(replace(found, task=found.task.changed("training", {"epochs": epochs})), list(changes))


def test_the_choice_is_written_into_the_recipe(tmp_path: Path) -> None:
    data = small()
    found = tuned(recipe_of(), data, tmp_path)
    training = found.task.training
    assert training.bias_ridge == bias_ridge(found.task.encoded(data, 0))
    assert found.tune == ()
    (note,) = found.notes
    assert note.startswith("Chosen on the training part by ")
    for name in ("ridge", "l2", "learning_rate", "epochs"):
        assert f"{name} {getattr(training, name):g}" in note
    trained = sorted(path.stat().st_mtime_ns for path in tmp_path.iterdir())
    assert len(trained) > 3
    assert tuned(recipe_of(), data, tmp_path) == found
    assert sorted(path.stat().st_mtime_ns for path in tmp_path.iterdir()) == trained  # nothing again


def test_what_a_user_sets_wins(tmp_path: Path) -> None:
    data = small()
    sets = ["training.ridge=3", "training.l2=0.1", "training.learning_rate=0.01", "training.epochs=1"]
    for at, change in enumerate(sets):
        found = tuned(recipe_of(change), data, tmp_path / str(at)).task.training
        name, value = change.removeprefix("training.").split("=")
        assert getattr(found, name) == float(value)
    found = tuned(recipe_of(*sets), data, tmp_path / "all")
    user, item = found.task.training.bias_ridge
    assert found.notes == (f"Chosen on the training part: bias_ridge {user:g} and {item:g}.",)
    assert not (tmp_path / "all").exists()
    every = recipe_of(*sets, "training.bias_ridge=[2, 9]")
    assert tuned(every, data, tmp_path) == every
    asis = recipe_of(tune=False)
    assert tuned(asis, data, tmp_path) == asis


def test_a_killed_search_goes_on(tmp_path: Path) -> None:
    """Trials that are there are not trained again, and the choice is the same."""
    data = small()
    whole = tuned(recipe_of(), data, tmp_path)
    files = sorted(tmp_path.iterdir())
    kept, lost = files[0], files[1:]
    for path in lost:
        path.unlink()
    before = kept.stat().st_mtime_ns
    assert tuned(recipe_of(), data, tmp_path) == whole
    assert sorted(tmp_path.iterdir()) == files
    assert kept.stat().st_mtime_ns == before


def test_data_are_encoded_once_for_all_trials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = recipe_of()
    data, calls = small(), []
    encoded = type(found.task).encoded
    monkeypatch.setattr(type(found.task), "encoded", lambda *of: calls.append(of) or encoded(*of))  # type: ignore[func-returns-value]
    tuned(found, data, tmp_path)
    assert len(calls) == 2  # as it is trained on, and as trials see it
    tuned(found, data, tmp_path, encoded=encoded(found.task, data, 0))
    assert len(calls) == 3  # as trials see it


@pytest.mark.parametrize("rows", [60, 200])
def test_users_with_one_rating_each_and_more_ids_than_ratings(tmp_path: Path, rows: int) -> None:
    draw = np.random.default_rng(0)
    data = Ratings("one each", np.arange(rows), draw.integers(0, 5 * rows, rows), draw.integers(1, 6, rows))
    training = tuned(recipe_of(), data, tmp_path).task.training
    assert training.ridge >= 8
    assert min(training.bias_ridge) > 0


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
    assert not list(tmp_path.iterdir())


def test_where_a_trial_has_nothing_to_learn_nothing_is_searched(tmp_path: Path) -> None:
    """One rating differs, and the slice has it; or all rows are of one user and item, and there is no slice."""
    data = small(200)
    split = recipe_of().task.split.split(data, 0)
    for at in split.training:
        ratings = np.full(200, 3.0, np.float32)
        ratings[at] = 5.0
        found = tuned(recipe_of(), Ratings("equal", data.users, data.items, ratings), tmp_path / str(at))
        if not (tmp_path / str(at)).exists():
            break
    else:
        pytest.fail("no slice has the rating that differs")
    assert found.task.training.ridge == load_recipe("ratings").task.training.ridge
    repeated = np.concatenate([np.zeros(150, np.int64), np.arange(1, 31)])
    once = Ratings("one pair", repeated, repeated, np.arange(180) % 5 + 1.0)
    assert tuned(recipe_of("split.kind=ordered"), once, tmp_path / "pair").task.training.bias_ridge


def test_a_split_that_holds_out_the_last_row_of_a_user(tmp_path: Path) -> None:
    data = small()
    timed = Ratings(data.name, data.users, data.items, data.ratings, times=np.arange(len(data)))
    assert tuned(recipe_of("split.kind=last"), timed, tmp_path).notes


def test_a_damaged_training_of_the_search_is_trained_again(tmp_path: Path) -> None:
    found = tuned(recipe_of(), small(), tmp_path)
    for path, text in zip(tmp_path.iterdir(), ["{", "[]", '{"scores": [NaN], "diverged": null}', "{}"], strict=False):
        path.write_text(text)
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
    words = f"ratings choose {', '.join(CHOSEN[:-1])} and epochs by themselves, not 'warmup'"
    with pytest.raises(InputError, match=words):
        tuned(replace(recipe_of(), tune=("warmup",)), small(), tmp_path)
    clicks = replace(load_recipe("clicks"), tune=("l2",))
    with pytest.raises(InputError, match="clicks choose epochs by themselves, not 'l2'"):
        tuned(clicks, None, tmp_path)
