"""What users ask of the runtime: the best items whatever else is asked for, and clear errors of wrong input."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import coset
import coset_runtime
from coset_runtime import InputError, top
from tests.artifact.cases import ITEMS, USERS, model_of, vocabulary, write

USER_IDS, ITEM_IDS = (vocabulary(name, n).values for name, n in (("user", USERS), ("item", ITEMS)))


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """`loaded(method, …)`: the runtime of a model whose items have this method."""
    made: dict[str, Any] = {}

    def load(method: Any = "full", **choices: Any) -> Any:
        key = repr((method, choices))
        if key not in made:
            folder = tmp_path_factory.mktemp("made") / "a"
            write(folder, model_of({"item": coset.method(method)}, **choices))
            made[key] = coset_runtime.load(folder)
        return made[key]

    return load


def places(found: Any) -> list[int]:
    at = {raw: place for place, raw in enumerate(ITEM_IDS.tolist())}
    return [at[raw] for raw in found.items.tolist()]


TIED = [
    coset.Hashing(5), coset.Hashing(5, storage=coset.Packed(8)), coset.Hashing(5, storage=coset.Packed(3, step="row")),
    coset.Blocks((30,), (coset.Hashing(4), coset.Hashing(3, storage=coset.Packed(8)))),
]  # fmt: skip


@pytest.mark.parametrize("method", TIED, ids=str)
@pytest.mark.parametrize("numbers", [1 << 20, 40])
def test_equal_items_come_in_the_order_of_their_ids(
    method: Any, numbers: int, loaded: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In one block and in many, alone and beside other users."""
    monkeypatch.setattr(top, "_NUMBERS_AT_ONCE", numbers)
    model = loaded(method, biases=False)
    vectors = model.lookup("item", ITEM_IDS).astype(np.float64)
    for user in (0, 7):
        scores = (vectors * model.lookup("user", USER_IDS[user])).sum(1)
        expected = np.lexsort((np.arange(ITEMS), -scores)).tolist()
        assert len(set(scores.tolist())) <= 7
        for k in (1, 9, ITEMS):
            assert places(model.recommend(USER_IDS[user], k)) == expected[:k]
            together = model.recommend(USER_IDS, k)
            assert places(together)[user * k : user * k + k] == expected[:k]


@pytest.mark.parametrize("numbers", [1 << 20, 40])
@pytest.mark.parametrize("history", [False, True])
def test_what_is_excluded_or_not_among_the_items_is_left_out(
    numbers: int, history: bool, loaded: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(top, "_NUMBERS_AT_ONCE", numbers)
    model = loaded("full", history=history)
    whole = {user: places(model.recommend(raw, ITEMS)) for user, raw in enumerate(USER_IDS.tolist())}
    draw = np.random.default_rng(0)
    some, seen = draw.permutation(ITEMS)[:20], {u: draw.permutation(ITEMS)[: 3 * u].tolist() for u in range(USERS)}
    by_user = {USER_IDS[user]: ITEM_IDS[items] for user, items in seen.items()}
    for k in (1, 6, 25):
        found = model.recommend(USER_IDS, k, exclude=by_user, items=ITEM_IDS[some])
        left = {u: [i for i in whole[u] if i in some and i not in seen[u]][:k] for u in range(USERS)}
        assert places(found) == [item for of in left.values() for item in of]
        assert found.users.tolist() == [USER_IDS[user] for user, of in left.items() for _ in of]
        found = model.recommend(USER_IDS[3], k, exclude=[*ITEM_IDS[some], 10**9])
        assert places(found) == [item for item in whole[3] if item not in some][:k]
    assert len(model.recommend(USER_IDS[0], 5, exclude=ITEM_IDS).items) == 0
    assert len(model.recommend([], 5).items) == 0


def test_predictions_are_those_of_pairs(loaded: Callable[..., Any]) -> None:
    model = loaded("full")
    found = model.recommend(USER_IDS, 4)
    assert found.predictions.tolist() == model.score(found.users, found.items).tolist()
    assert (np.diff(found.predictions.reshape(-1, 4), axis=1) <= 0).all()
    assert model.score(USER_IDS[0].item(), ITEM_IDS[0].item()) == model.score(USER_IDS[:1], ITEM_IDS[:1])[0]


def test_every_number_of_items_is_exact_beside_a_plain_sort(tmp_path: Path) -> None:
    """Of items whose scores lie within rounding of each other."""
    draw = torch.Generator().manual_seed(0)
    model = model_of({"item": "full"}, biases=False)
    assert model.embeddings is not None
    rows = model.embeddings.tables["item"].get_submodule("rows").weight
    with torch.no_grad():
        rows.copy_(1 + 1e-7 * torch.randint(-3, 4, rows.shape, generator=draw))
    write(tmp_path / "a", model)
    runtime = coset_runtime.load(tmp_path / "a")
    vectors, user = rows.detach().double().numpy(), runtime.lookup("user", USER_IDS).astype(np.float64)
    for place in range(USERS):
        expected = np.lexsort((np.arange(ITEMS), -(vectors * user[place]).sum(1)))
        assert places(runtime.recommend(USER_IDS[place], 11)) == expected[:11].tolist()


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: m.recommend(10**9), "user 1000000000 is unknown: it is none of 23 ids"),
        (lambda m: m.recommend("a"), "ids of 'user' are whole numbers, and 'a' at place 0 is text"),
        (lambda m: m.recommend([USER_IDS[0], 1.5]), "1.5 at place 1 is a float"),
        (lambda m: m.recommend([USER_IDS[0], True]), "True at place 1 is a bool"),
        (lambda m: m.recommend(None), "users are a raw id or a list of them, not None"),
        (lambda m: m.recommend({1: 2}), "users are a raw id or a list of them"),
        (lambda m: m.recommend(1 << 70), "is beyond 64 bits"),
        (lambda m: m.recommend(USER_IDS[0], 0), "k must be a number of items from 1 to 57, not 0"),
        (lambda m: m.recommend(USER_IDS[0], ITEMS + 1), "from 1 to 57, not 58"),
        (lambda m: m.recommend(USER_IDS[0], 2.0), "from 1 to 57, not 2.0"),
        (lambda m: m.recommend(USER_IDS[0], True), "not True"),
        (lambda m: m.recommend(USER_IDS[0], items=[10**9]), "item 1000000000 is unknown"),
        (lambda m: m.recommend(USER_IDS[0], exclude=["a"]), "ids of 'item' are whole numbers"),
        (lambda m: m.recommend(USER_IDS[0], exclude={"a": []}), "ids of 'user' are whole numbers"),
        (lambda m: m.recommend(USER_IDS[:4].reshape(2, 2)), "and \\[.*\\] at place 0 is a list"),
        (lambda m: m.score(USER_IDS[:2], ITEM_IDS[:3]), "2 users and 3 items are not as many"),
        (lambda m: m.score(USER_IDS[:1], [None]), "None at place 0 is a NoneType"),
        (lambda m: m.lookup("film", 1), "there is no table 'film'; there are 'user', 'user_bias', 'item', 'item_bias'"),
    ],
)  # fmt: skip
def test_wrong_input_is_named(call: Callable[[Any], Any], said: str, loaded: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=said) as raised:
        call(loaded("full"))
    assert "\n" not in str(raised.value)


def test_texts_are_found_as_they_are(tmp_path: Path) -> None:
    write(tmp_path / "a", model_of({}), "text")
    runtime = coset_runtime.load(tmp_path / "a")
    raw = vocabulary("user", USERS, "text").values
    for one in raw.tolist():
        assert runtime.vocabularies["user"].raw(runtime.vocabularies["user"].find([one])).tolist() == [one]
    for wrong in ("", "ä", "ä9999", "zz", "\ud800"):
        with pytest.raises(InputError, match="is unknown"):
            runtime.recommend(wrong)
    with pytest.raises(InputError, match=r"ids of 'user' are text, and 5 at place 0 is a whole number"):
        runtime.recommend(5)


@pytest.mark.parametrize("unseen", ["error", "shared"])
def test_unknown_ids_share_a_row_where_the_model_says_so(unseen: str, tmp_path: Path) -> None:
    """And that row is never recommended."""
    write(tmp_path / "a", model := model_of({}), unseen=unseen)
    runtime = coset_runtime.load(tmp_path / "a")
    if unseen == "error":
        with pytest.raises(InputError, match="is unknown"):
            runtime.score(10**9, 10**9)
        return
    expected = float(model.predict(torch.tensor([USERS - 1]), torch.tensor([ITEMS - 1])))
    assert runtime.score(10**9, 10**9) == pytest.approx(expected, rel=1e-6)
    assert len(runtime.recommend(10**9, ITEMS - 1).items) == ITEMS - 1
    with pytest.raises(InputError, match=f"from 1 to {ITEMS - 1}, not {ITEMS}"):
        runtime.recommend(10**9, ITEMS)


@pytest.mark.parametrize("seed", range(4))
def test_numbers_of_any_size_are_found(seed: int) -> None:
    """In blocks of any length, and with neighbours that are not there."""
    from coset.artifact import numbering
    from coset.data.vocabulary import Vocabulary
    from coset_runtime.tensors import Tensor
    from coset_runtime.vocabulary import vocabulary as read

    draw = np.random.default_rng(seed)
    spread = (3000, 10**6, 1 << 40, 1 << 62)[seed]
    values = draw.permutation(np.unique(draw.integers(-spread, spread, 2500)))
    of, arrays = numbering.encoded("v", Vocabulary("v", values, np.zeros(len(values), np.int64)))
    kinds = {"u": "U", "i": "I"}
    tensors: Any = {
        name: Tensor(f"{kinds[array.dtype.kind]}{8 * array.dtype.itemsize}", array) for name, array in arrays.items()
    }
    found = read("v", of, tensors)
    assert found.find(values).tolist() == list(range(len(values)))
    assert found.raw(np.arange(len(values))).tolist() == values.tolist()
    near = np.concatenate([values + 1, values - 1, [-(2**63), 2**63 - 1]])
    known = {value: place for place, value in enumerate(values.tolist())}
    assert found.find(near, unknown=True).tolist() == [known.get(value, -1) for value in near.tolist()]
