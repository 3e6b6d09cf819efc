"""Settings that `coset train` and `coset compare` choose themselves, and what they show beside them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Coset = Callable[..., Any]
SHORT = ("--set", "model.embedding_dim=2", "--epochs", 2)


def training_of(run: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(run, "run.json").read_text())["spec"]["training"]
    return found


def test_the_choice_is_shown_and_written_into_the_run(coset: Coset, small_csv: Path) -> None:
    done = coset("train", small_csv, *SHORT, "--out", "run")
    assert done.code == 0, done.err
    chosen = training_of("run")
    users, items = chosen["bias_ridge"]
    trainings = len(list(Path(".run-tuning").iterdir()))
    assert trainings > 2
    assert (
        f"Chosen on the training part by {trainings} short trainings: bias_ridge {users:g} and {items:g}, ridge "
        f"{chosen['ridge']:g}, l2 {chosen['l2']:g}, learning_rate {chosen['learning_rate']:g}."
    ) in " ".join(done.out.split())
    assert chosen["epochs"] == 2


def test_epochs_are_chosen_where_nobody_names_them(coset: Coset, small_csv: Path) -> None:
    done = coset("train", small_csv, "--set", "model.embedding_dim=1", "--out", "run")
    assert done.code == 0, done.err
    assert f"epochs {training_of('run')['epochs']}." in " ".join(done.out.split())


def test_a_search_that_only_diverges_keeps_the_run_that_is_there(coset: Coset, small_csv: Path) -> None:
    assert coset("train", small_csv, *SHORT, "--no-tune", "--out", "run").code == 0
    before = {path: path.read_bytes() for path in Path("run").iterdir() if path.is_file()}
    fast = ("--set", "training.optimizer=sgd", "--set", "training.learning_rate=1e30")
    refused = coset("train", small_csv, *SHORT, *fast, "--resume", "--out", "run").sentence  # before any search
    assert "spec.training.learning_rate is 0.004 there and 1e+30 now" in refused
    done = coset("train", small_csv, *SHORT, *fast, "--out", "other")
    assert (done.code, done.out) == (2, "")
    assert done.err.splitlines()[-1].startswith(
        "coset: every short training that was to choose settings diverged, the last as follows: "
    )
    assert {path: path.read_bytes() for path in Path("run").iterdir() if path.is_file()} == before


@pytest.mark.parametrize(
    "words",
    [
        ("--no-tune",),
        (
            *("--set", "training.ridge=8", "--set", "training.bias_ridge=[8, 4]"),
            *("--set", "training.l2=0.02", "--set", "training.learning_rate=0.004"),
        ),
    ],
)
def test_nothing_is_chosen_where_a_user_says_so(coset: Coset, small_csv: Path, words: tuple[str, ...]) -> None:
    done = coset("train", small_csv, *SHORT, *words, "--out", "run")
    assert done.code == 0, done.err
    assert (training_of("run")["ridge"], training_of("run")["bias_ridge"]) == (8.0, [8.0, 4.0])
    assert "Chosen" not in done.out
    assert not Path(".run-tuning").exists()


def test_a_run_that_is_trained_further_keeps_its_choice(coset: Coset, small_csv: Path) -> None:
    assert coset("train", small_csv, *SHORT, "--no-tune", "--out", "run").code == 0
    refused = coset("train", "run", "--continue", "--epochs", 1, "--no-tune").sentence
    assert refused == "--continue keeps the data and the model of a run; leave out --no-tune"
    assert coset("train", "run", "--continue", "--epochs", 1, "--out", "more").code == 0
    assert training_of("more")["ridge"] == training_of("run")["ridge"]


def test_a_comparison_shows_what_needs_no_training(coset: Coset, small_csv: Path) -> None:
    done = coset("compare", small_csv, *SHORT, "--methods", "hashing", "--budgets", "50%", "--out", "all", "--json")
    assert done.code == 0, done.err
    rows = done.json["rows"]
    assert [row["name"] for row in rows[:3]] == ["constant", "ridge bias", "full"]
    assert [row["group"] for row in rows[:2]] == ["baseline"] * 2
    text = Path("all", "results.md").read_text()
    assert "Chosen on the training part by" in text
    assert "| ridge bias (2) |" in text


def test_clicks_choose_their_epochs(coset: Coset, clicks: Any) -> None:
    small = ("--set", "model.embedding_dim=2", "--set", "model.bottom=[2]", "--set", "model.top=[2]")
    done = coset("train", clicks.folder, *small, "--out", "run")
    assert done.code == 0, done.err
    assert f"Chosen on the training part by 1 short training: epochs {training_of('run')['epochs']}." in done.out
    for words in (("--epochs", 2), ("--no-tune",)):
        done = coset("train", clicks.folder, *small, *words, "--out", f"run{words[0]}")
        assert "Chosen" not in done.out
    assert training_of("run--no-tune")["epochs"] == 1


def test_other_settings_are_refused_before_any_search(coset: Coset, small_csv: Path) -> None:
    words = ("train", small_csv, "--epochs", 2, "--out", "run")
    assert coset(*words).code == 0
    found = coset(*words, "--resume", "--set", "training.ridge=3")
    assert "holds work of other choices or data (spec.training.ridge is" in found.sentence
