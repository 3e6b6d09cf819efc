"""Recipes: the shipped ones, the counts that are known, and every way to write one wrongly."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from coset import ledger
from coset.data import Encoded, Ratings, load_ratings, synthetic_ratings
from coset.errors import InfeasibleBudget, InputError, Unsuitable
from coset.experiments.recipe import AnyRecipe, load_recipe, parse_recipe, recipe_for, shipped
from coset.experiments.resolve import Row, resolve
from coset.methods import registered
from coset.tasks import Order
from coset.tasks.ratings import bits

HEAD = 'title = "t"\ndata = "small.csv"\n[model]\nembedding_dim = 8\nbiases = true\n'


@pytest.fixture(scope="module")
def ratings(small_csv: Path) -> Ratings:
    return load_ratings(small_csv)


@pytest.fixture(scope="module")
def twin() -> Ratings:
    """Ratings with the sizes of MovieLens-1M."""
    return synthetic_ratings()


@pytest.fixture(scope="module")
def few(twin: Ratings) -> Ratings:
    """All users and movies of the twin, so tables of its sizes, and few of its ratings: what is fitted takes a tenth of
    the time."""
    rows = np.arange(0, len(twin), 20)
    firsts = [np.unique(ids, return_index=True)[1] for ids in (twin.users, twin.items)]
    return twin.select(np.unique(np.concatenate([rows, *firsts])))


AnyRow = Row[Any, Any, Any, Any]


def encode(recipe: AnyRecipe, data: Any, seed: int) -> Any:
    return recipe.task.encoded(data, seed)


def parse(text: str) -> AnyRecipe:
    return parse_recipe(text, "mine", "mine.toml")


def rows_of(text: str, ratings: Ratings) -> list[AnyRow]:
    recipe = parse(HEAD + text)
    return resolve(recipe, encode(recipe, ratings, 0))[0]


def stored(row: AnyRow, encoded: Encoded) -> tuple[int, int]:
    components = row.task.components(row.methods, encoded)
    return ledger.parameters(components), ledger.inference_bytes(components)


@pytest.mark.parametrize("name", sorted(name for name in shipped() if load_recipe(name).task.name == "ratings"))
def test_a_shipped_recipe_fits_data_of_the_size_it_was_written_for(
    name: str, few: Ratings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bits, "DIMS", (2,))  # wider vectors are found in the same way, and take ten times as long
    recipe = load_recipe(name)
    assert recipe.name == name
    encoded = encode(recipe, few, 0)
    rows, _ = resolve(recipe, encoded)
    assert "full" in [row.name for row in rows]
    for given_row in recipe.rows:
        budgets = [budget for budget in given_row.budgets if isinstance(budget, int)]
        for budget in budgets:
            named = given_row.name if len(given_row.budgets) == 1 else f"{given_row.name} {budget}"
            for row in rows:
                if row.name == named:
                    assert stored(row, encoded)[1] <= budget
                    assert row.group == "compressed"


def test_the_keras_example_has_the_counts_of_the_page(twin: Ratings) -> None:
    recipe = load_recipe("keras-example")
    encoded = encode(recipe, twin, 0)
    found = {row.name: stored(row, encoded)[0] for row in resolve(recipe, encoded)[0]}
    assert found["full"] == 623_744
    assert found["QR + MD (page's layout)"] == 117_968
    assert found["QR + MD"] == 113_312
    assert found["bias only"] == 9_747


def test_the_keras_example_is_trained_as_the_page_says() -> None:
    recipe = load_recipe("keras-example")
    of = recipe.task.training
    assert (of.optimizer, of.learning_rate, of.eps, of.batch_size, of.epochs) == ("adam", 1e-3, 1e-7, 128, 3)
    assert of.order(0, 0) == Order(0, 0, 10_000)
    assert (recipe.task.model.output, recipe.task.model.low, recipe.task.model.high) == ("sigmoid", 0.0, 5.0)
    assert recipe.task.model.embedding_dim == 64
    assert recipe.task.vocabulary.user_order == "first_appearance"
    corrected = load_recipe("keras-example-corrected")
    assert corrected.task.training == replace(of, shuffle="full")
    assert corrected.task.vocabulary.frequencies == "training"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("titel = 't'", "unknown field of recipe 'titel': did you mean 'title'?"),
        ("rows = []", "has no rows"),
        ("rows = 3", "rows must be a list"),
        ("rows = [1]", "must be a table"),
        ("rows = [{}]", "needs name"),
        ("[trainin]", "did you mean 'training'?"),
        ("[training]\nepoch = 3", "did you mean 'epochs'?"),
        ("[training]\nepochs = 0", "epochs must be at least 1"),
        ("[training]\nlearning_rate = nan", "finite"),
        ("[split]\nvalidation = 1.5", "validation"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rank'", "a method needs budgets or collisions"),
        ("[[rows]]\nname = 'a'\nbudgets = ['1KB']", "a method needs budgets or collisions"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rank'\nbudgets = ['1XB']", "unit"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rank'\nbudgets = ['-5%']", "a share is a number"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rank'\nbudgets = [{}]", "size"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rank'\nbudgets = ['1KB']\nembedding_dims = [2]", "leave out"),
        ("[[rows]]\nname = 'a'\nmethods = { user = { method = 'hashin' } }", "did you mean 'hashing'?"),
        ("[[rows]]\nname = 'a'\nmethods = { user = { method = 'hashing', buckets = 3 } }", "num_buckets"),
        ("[[rows]]\nname = 'a'\nmethods = { user = { method = 'hashing' } }", "needs num_buckets"),
        ("[[rows]]\nname = 'a'\nmethods = { user = 'hashing' }", "a method is written"),
        ("[[rows]]\nname = 'a'\nmethods = { user = 3 }", "a method is written"),
        ("[[rows]]\nname = 'a'\nembedding_dims = [1.5]", "embedding_dims"),
        ("[[rows]]\nname = 'a'\nbudget = 3", "did you mean 'budgets'?"),
        ("[[rows]]\nname = 'a'\nname = 'b'\nnote = 'c'\n", "line 5"),
        ("schema = 1", "written for coset 0.1 .schema 1.: write schema = 2, optimizer"),
        ("schema = 3", "of schema 3; this coset reads schema 2"),
        ("task = 'rating'", "did you mean 'ratings'?"),
        ("seeds = 0", "seeds must lie in 1"),
        ("seeds = true", "seeds"),
        ("first_seed = -1", "seed"),
        ("first_seed = 1.5", "first_seed"),
    ],
)
def test_a_wrong_recipe_is_refused_by_name(text: str, message: str) -> None:
    top = "title = 't'\ndata = 'small.csv'\n"
    more = "" if "rows" in text else "\n[[rows]]\nname = 'full'"
    with pytest.raises(InputError, match=message.replace("?", r"\?")) as caught:
        parse(top + text + more)
    assert str(caught.value).startswith("mine.toml: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "line"), [("a = 1\nb = \n", "line 2"), ("x\ny = 1\n", "line 1"), ("a = 1\n\n[[rows]\n", "line 3")]
)
def test_what_is_not_toml_is_refused_with_the_line(text: str, line: str) -> None:
    with pytest.raises(InputError, match=rf"mine\.toml: .*{line}"):
        parse(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[rows]]\nname = 'a'\n[[rows]]\nname = 'a'", "'a'"),
        ("[[rows]]\nname = 'A b'\n[[rows]]\nname = 'a-b'", "'A b' and 'a-b'"),
        ("[[rows]]\nname = 'a'\nmethod = 'low_rnk'\nbudgets = ['1KB']", "did you mean 'low_rank'"),
        ("[[rows]]\nname = 'a'\nmethod = { hash = 'x' }\nbudgets = ['9KB']", "a method with fields is written"),
        ("[[rows]]\nname = 'a'\nmethod = { method = 'hashing', hsh = 'x' }\nbudgets = ['9KB']", "did you mean 'hash'"),
        ("[[rows]]\nname = 'a'\nmethods = { film = { method = 'full' } }", "'film'.*'user'.*'item'"),
        ("[[rows]]\nname = 'a'\nmethods = { user = { method = 'hashing', num_buckets = 61 } }", "61.*60"),
        ("[[rows]]\nname = 'a'\nmodel = { embeding_dim = 3 }", "did you mean 'embedding_dim'"),
        ("[[rows]]\nname = 'a'\ntraining = { lr = 3 }", "row 'a': training"),
        ("[[rows]]\nname = 'a'\nembedding_dims = [-1]", "embedding_dim"),
        (
            "[[rows]]\nname = 'a'\nmethod = { method = 'quotient_remainder', operation = 'min' }\nbudgets = ['3KB']",
            "min",
        ),
    ],
)
def test_a_row_that_does_not_fit_is_named(text: str, message: str, ratings: Ratings) -> None:
    with pytest.raises(InputError, match=message):
        rows_of(text, ratings)


@pytest.mark.parametrize("method", ["5", "['low_rank']", "{ method = 'mixed_dimension', block_sizes = 5 }"])
def test_a_method_of_a_wrong_type_is_refused(method: str, ratings: Ratings) -> None:
    try:
        rows_of(f"[[rows]]\nname = 'a'\nmethod = {method}\nbudgets = ['4KB']", ratings)
    except InputError:
        return
    pytest.fail("not refused")


def test_an_infeasible_budget_names_the_floor_and_the_row(ratings: Ratings) -> None:
    text = "[[rows]]\nname = 'thin'\nmethod = 'low_rank'\nbudgets = ['500B']"
    with pytest.raises(InfeasibleBudget, match=r"row 'thin'.*low_rank needs a budget of at least") as caught:
        rows_of(text, ratings)
    assert str(caught.value.floor) in str(caught.value)
    (row,) = rows_of(text.replace("500B", f"{caught.value.floor}B"), ratings)
    recipe = parse(HEAD + text)
    assert stored(row, encode(recipe, ratings, 0))[1] == caught.value.floor


def test_infeasible_rows_can_be_left_out_with_a_note(ratings: Ratings) -> None:
    text = "[[rows]]\nname = 'full'\n[[rows]]\nname = 'thin'\nmethod = 'low_rank'\nbudgets = ['500B', '2KB']"
    recipe = replace(parse(HEAD + text), skip_infeasible=True)
    rows, notes = resolve(recipe, encode(recipe, ratings, 0))
    assert [row.name for row in rows] == ["full", "thin 2KB"]
    (note,) = notes
    assert "thin 500B" in note
    nothing = replace(recipe, only=("thin 500B",))
    with pytest.raises(InputError, match="row 'thin 500B': low_rank needs a budget of at least"):
        resolve(nothing, encode(nothing, ratings, 0))
    both = replace(recipe, only=("thin",))
    rows, (note,) = resolve(both, encode(both, ratings, 0))
    assert [row.name for row in rows] == ["thin 2KB"]
    assert "thin 500B" in note


@pytest.mark.parametrize("name", sorted(name for name, cls in registered().items() if not cls.row_per_id))
@settings(max_examples=10, deadline=None)
@given(share=st.integers(1, 130), biases=st.booleans())
def test_a_budget_is_for_the_whole_model_and_never_exceeded(
    name: str, share: int, biases: bool, ratings: Ratings
) -> None:
    text = HEAD.replace("true", "true" if biases else "false")
    recipe = parse(f"{text}[[rows]]\nname = 'full'\n[[rows]]\nname = 'a'\nmethod = '{name}'\nbudgets = ['{share}%']")
    encoded = encode(recipe, ratings, 0)
    full = 4 * (100 * 8 + (101 if biases else 0))
    with suppress(Unsuitable):  # what it says is tested elsewhere
        rows, _ = resolve(recipe, encoded)
        assert stored(rows[0], encoded)[1] == full
        assert stored(rows[1], encoded)[1] <= full * share / 100


def test_budgets_in_every_spelling_are_the_same(ratings: Ratings) -> None:
    (full,) = rows_of("[[rows]]\nname = 'full'", ratings)
    recipe = parse(HEAD + "[[rows]]\nname = 'full'")
    size = stored(full, encode(recipe, ratings, 0))[1]
    assert size == 3604
    spellings = ["'50%'", "'50.0 %'", "1802", "'1802'", "'1.802KB'", "'1802 B'"]
    rows = [rows_of(f"[[rows]]\nname = 'a'\nmethod = 'hashing'\nbudgets = [{of}]", ratings)[0] for of in spellings]
    assert all(row.methods == rows[0].methods for row in rows)


def test_names_groups_and_dims(ratings: Ratings) -> None:
    text = """
[[rows]]
name = "full"
[[rows]]
name = "narrow"
embedding_dims = [1, 4]
[[rows]]
name = "one"
embedding_dims = [2]
[[rows]]
name = "hashed"
method = "hashing"
budgets = ["50%", "25%"]
[[rows]]
name = "by hand"
methods = { user = { method = "low_rank", rank = 2 } }
training = { epochs = 1 }
[[rows]]
name = "bias only"
model = { embedding_dim = 0 }
"""
    rows = {row.name: row for row in rows_of(text, ratings)}
    assert {name: (row.group, row.task.model.embedding_dim) for name, row in rows.items()} == {
        "full": ("full", 8),
        "narrow d=1": ("narrow", 1),
        "narrow d=4": ("narrow", 4),
        "one": ("narrow", 2),
        "hashed 50%": ("compressed", 8),
        "hashed 25%": ("compressed", 8),
        "by hand": ("compressed", 8),
        "bias only": ("bias", 0),
    }
    assert rows["by hand"].task.training.epochs == 1
    assert rows["full"].task.training.epochs == 12
    assert len({row.slug for row in rows.values()}) == len(rows)


def test_only_takes_rows_and_families_of_rows(ratings: Ratings) -> None:
    recipe = parse(HEAD + "[[rows]]\nname = 'full'\n[[rows]]\nname = 'narrow'\nembedding_dims = [1, 4]")
    encoded = encode(recipe, ratings, 0)

    def only(*names: str) -> list[str]:
        return [row.name for row in resolve(replace(recipe, only=names), encoded)[0]]

    assert only("narrow") == ["narrow d=1", "narrow d=4"]
    assert only("narrow d=4", "full") == ["full", "narrow d=4"]
    with pytest.raises(InputError, match="did you mean 'narrow'"):
        only("narow")


def test_a_file_is_found_and_a_name_suggested(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(HEAD + "[[rows]]\nname = 'full'")
    assert load_recipe(path).name == "mine"
    with pytest.raises(InputError, match=r"gone\.toml: no such recipe file"):
        load_recipe(tmp_path / "gone.toml")
    with pytest.raises(InputError, match="did you mean 'keras-example'"):
        load_recipe("keras-exampel")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"mine\.toml"):
        load_recipe(path)


def test_a_file_wins_over_a_shipped_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("keras-example").write_text(HEAD.replace('"t"', '"my own"') + "[[rows]]\nname = 'full'")
    assert load_recipe("keras-example").title == "my own"


@pytest.mark.parametrize(
    ("section", "changes", "message"),
    [
        ("trainin", {"epochs": 1}, "did you mean 'training'"),
        ("rows", {"name": "x"}, "unknown section"),
        ("training", {"epoch": 1}, "did you mean 'epochs'"),
        ("training", {"epochs": "1"}, "epochs must be of type int"),
        ("model", {"embedding_dim": -1}, "embedding_dim"),
        ("split", {"validation": 2.0}, "validation"),
    ],
)
def test_wrong_overrides(section: str, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        parse(HEAD + "[[rows]]\nname = 'full'").override(section, changes)


def test_an_override_reaches_rows_with_a_word_of_their_own(ratings: Ratings) -> None:
    recipe = parse(HEAD + "[[rows]]\nname = 'full'\n[[rows]]\nname = 'slow'\ntraining = { epochs = 50, l2 = 0.5 }")
    changed = recipe.override("training", {"epochs": 2})
    rows, _ = resolve(changed, encode(changed, ratings, 0))
    assert [(row.task.training.epochs, row.task.training.l2) for row in rows] == [(2, 0.0), (2, 0.5)]
    assert resolve(recipe, encode(recipe, ratings, 0))[0][1].task.training.epochs == 50


def test_a_dim_for_the_full_model_leaves_the_row_without_vectors_alone(ratings: Ratings) -> None:
    recipe = load_recipe("keras-example").override("model", {"embedding_dim": 32})
    chosen = replace(recipe, only=("bias only",))
    rows, _ = resolve(chosen, encode(chosen, ratings, 0))
    assert rows[0].group == "bias"


def test_a_recipe_for_any_data(ratings: Ratings) -> None:
    data = {"source": "some/small.csv"}
    plain = recipe_for("ratings", data, ["hashing"], ["2KB"], {"embedding_dim": 8})
    assert plain.name == "small"
    assert plain.task.model.embedding_dim == 8
    names = [row.name for row in resolve(plain, encode(plain, ratings, 0))[0]]
    baselines = ["full", "narrow d=1", "narrow d=2", "narrow d=4", "narrow d=8", "bias only"]
    assert names == [*baselines, "planned", "hashing"]
    some = recipe_for("ratings", data, ["hashing", "low_rank"], ["2KB", "600B"], {"embedding_dim": 8})
    rows, notes = resolve(some, encode(some, ratings, 0))
    assert [row.name for row in rows[len(baselines) :]] == [
        "planned 2KB", "planned 600B", "hashing 2KB", "hashing 600B", "low_rank 2KB"
    ]  # fmt: skip
    (note,) = notes
    assert note.startswith("left out low_rank 600B: low_rank needs a budget of at least")
    everything = recipe_for("ratings", data, ["all"], ["2KB", "600B"], {"embedding_dim": 8})
    rows, notes = resolve(everything, encode(everything, ratings, 0))
    assert {"hashing 2KB", "hashing 600B", "low_rank 2KB", "quotient_remainder 2KB"} <= {row.name for row in rows}
    assert any("low_rank 600B" in note for note in notes)
    with pytest.raises(InputError, match="did you mean 'hashing'"):
        recipe_for("ratings", data, ["hashin"], ["2KB"])
    assert [row.name for row in recipe_for("ratings", data, ["full", "hashing"], ["2KB"]).rows].count("full") == 1


def test_rows_that_do_not_run_are_not_held_to_the_model(ratings: Ratings) -> None:
    recipe = recipe_for("ratings", {"source": "small.csv"}, [], [], {"embedding_dim": 8}).override(
        "model", {"biases": False}
    )
    rows, (note,) = resolve(recipe, encode(recipe, ratings, 0))
    assert [row.name for row in rows] == ["full", "narrow d=1", "narrow d=2", "narrow d=4", "narrow d=8"]
    assert note == "left out bias only: model: embedding_dim = 0 leaves the biases alone, so biases must be true"
    full = replace(recipe, only=("full",))
    (row,), notes = resolve(full, encode(full, ratings, 0))
    assert (row.name, notes) == ("full", [])
    alone = replace(recipe, only=("bias only",))
    with pytest.raises(InputError, match="row 'bias only': model: embedding_dim = 0"):
        resolve(alone, encode(alone, ratings, 0))


def test_a_budget_below_the_biases_names_the_way_out(ratings: Ratings) -> None:
    recipe = recipe_for("ratings", {"source": "small.csv"}, ["low_rank"], ["403B"], {"embedding_dim": 8})
    encoded = encode(recipe, ratings, 0)
    with pytest.raises(InfeasibleBudget, match=r"; --set model\.biases=false leaves the biases out$"):
        resolve(replace(recipe, only=("low_rank",)), encoded)
    (planned,), _ = resolve(replace(recipe, only=("planned",)), encoded)  # some ids share a bias there
    assert stored(planned, encoded)[1] <= 403
    without = recipe_for("ratings", {"source": "small.csv"}, ["low_rank"], ["500B"], {"embedding_dim": 8}).override(
        "model", {"biases": False}
    )
    (row,), _ = resolve(replace(without, only=("low_rank",)), encoded)
    assert stored(row, encoded)[1] <= 500
    tiny = replace(
        recipe_for("ratings", {"source": "small.csv"}, ["low_rank"], ["9B"], {"embedding_dim": 8}), only=("low_rank",)
    )
    with pytest.raises(InfeasibleBudget) as caught:
        resolve(tiny.override("model", {"biases": False}), encoded)
    assert "--set" not in str(caught.value)  # there is nothing more to leave out


def test_budgets_without_methods_are_not_ignored() -> None:
    recipe = recipe_for("ratings", {"source": "small.csv"}, [], ["2KB"])
    assert any(row.budgets for row in recipe.rows)


def test_a_contrast_is_a_pair_of_rows_that_there_are(ratings: Ratings) -> None:
    rows = "[[rows]]\nname = 'full'\n[[rows]]\nname = 'a'\nembedding_dims = [2]"
    given = parse(f"contrasts = [['full', 'a']]\n{HEAD}{rows}")
    assert given.contrasts == (("full", "a"),)
    assert len(resolve(given, encode(given, ratings, 0))[0]) == 2
    wrong = parse(f"contrasts = [['full', 'fuul']]\n{HEAD}{rows}")
    with pytest.raises(InputError, match=r"contrast.*'fuul'.*'full'"):
        resolve(wrong, encode(wrong, ratings, 0))
    with pytest.raises(InputError, match="pair of names"):
        parse(f"contrasts = [['full']]\n{HEAD}{rows}")


def test_a_row_may_number_the_ids_in_an_order_of_its_own(ratings: Ratings) -> None:
    plain, shuffled = rows_of(
        "[[rows]]\nname = 'full'\n[[rows]]\nname = 'a'\nmethods = { user = { method = 'full' } }\n"
        "vocabulary = { user_order = 'random', item_order = 'random' }",
        ratings,
    )
    first, other = (row.task.encoded(ratings, 0) for row in (plain, shuffled))
    assert (first.split.training == other.split.training).all()
    assert sorted(first.user.values.tolist()) == sorted(other.user.values.tolist())
    assert first.user.values.tolist() != other.user.values.tolist()
    assert (other.user.frequencies[other.user.lookup(first.user.values)] == first.user.frequencies).all()
