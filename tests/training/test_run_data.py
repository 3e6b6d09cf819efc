"""What a run knows of its data: fingerprints, attributes, ids of later data, the range of ratings."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from coset.data import Attributes, Ratings
from coset.data.settings import SplitSettings, VocabularySettings
from coset.errors import InputError
from coset.models.dot import DotSettings
from coset.tasks.ratings import fingerprint
from coset.tasks.ratings.later import vocabularies
from coset.training.finished import FinishedRun
from tests.training.runs import bare, evaluated, execute, same_weights, spec_of


def test_fingerprints_tell_data_apart() -> None:
    base = Ratings("x", ["a", "bc", "d"], [1, 2, 1], [1, 2, 3])
    others = [
        Ratings("x", ["ab", "c", "d"], [1, 2, 1], [1, 2, 3]),
        Ratings("x", ["a", "bc", "d"], [1, 2, 2], [1, 2, 3]),
        Ratings("x", ["a", "bc", "d"], [1, 2, 1], [1, 2, 4]),
        Ratings("x", ["bc", "a", "d"], [2, 1, 1], [2, 1, 3]),
    ]
    hashes = {fingerprint(of)["sha256"] for of in (base, *others)}
    assert len(hashes) == 5
    assert fingerprint(base) == fingerprint(Ratings("x", ["a", "bc", "d"], [1, 2, 1], [1, 2, 3]))


def known(**columns: Any) -> Attributes:
    return Attributes([1, 2], columns or {"year": [1999, 2001]})


def test_fingerprints_cover_attributes_where_there_are_any() -> None:
    base = Ratings("x", [1, 2, 1], [1, 2, 2], [1, 2, 3])
    plain = fingerprint(base)
    assert plain.keys() == {"rows", "sha256"}
    assert plain["sha256"] == "5f8c8e5a4a10e39439510a19a0ff1745c7e91593f394cbf56f6d040f82df7349"
    others = [
        replace(base, user_attributes=known()),
        replace(base, item_attributes=known()),
        replace(base, item_attributes=known(year=[1999, 2002])),
        replace(base, item_attributes=known(year=["1999", "2001"])),
        replace(base, item_attributes=known(age=[1999, 2001])),
        replace(base, item_attributes=known(year=[1999, 2001], age=[1, 2])),
        replace(base, item_attributes=Attributes([1, 3], {"year": [1999, 2001]})),
    ]
    found = [fingerprint(of) for of in others]
    assert len({of["attributes"] for of in found}) == len(found)
    assert {of["sha256"] for of in found} == {plain["sha256"]}
    first = replace(base, item_attributes=known(year=[1, 2], age=[3, 4]))
    second = replace(base, item_attributes=known(age=[3, 4], year=[1, 2]))
    assert fingerprint(first) == fingerprint(second)


def test_a_run_keeps_the_attributes_of_its_ids(ratings: Ratings, tmp_path: Path) -> None:
    about = Attributes(np.arange(60), {"decade": np.arange(60) // 10, "parity": np.arange(60) % 2})
    execute(spec_of(), tmp_path / "run", replace(ratings, user_attributes=about))
    finished = FinishedRun.load(tmp_path / "run")
    numbered = vocabularies(tmp_path / "run")
    user, item = (finished.model.embeddings.tables[of.name].table for of in numbered)
    assert item.attributes is None
    assert user.attributes is not None
    assert user.attributes["decade"].tolist() == (numbered[0].values // 10).tolist()
    assert user.attributes["parity"].tolist() == (numbered[0].values % 2).tolist()
    assert evaluated(tmp_path / "run", ratings)["mse"] > 0  # of which nothing more need be known
    with pytest.raises(InputError, match=r"data\.attributes"):
        execute(spec_of(), tmp_path / "run", ratings, resume=True)


def test_attributes_that_no_method_asks_for_change_nothing(whole: Path, ratings: Ratings, tmp_path: Path) -> None:
    about = Attributes(np.arange(60), {"parity": np.arange(60) % 2})
    found = execute(spec_of(), tmp_path / "run", replace(ratings, user_attributes=about))
    assert same_weights(tmp_path / "run", whole)
    without = bare(json.loads((whole / "metrics.json").read_text()))
    assert bare(found) == without | {"vocabulary_bytes": without["vocabulary_bytes"] + 60}


def test_an_unseen_id_is_named(whole: Path) -> None:
    later = Ratings("later", [0, 987654], [0, 1], [3, 4])
    with pytest.raises(InputError, match=r"'user'.*987654"):
        evaluated(whole, later)


@pytest.mark.parametrize(("low", "high"), [(0.0, 100.0), (-10.0, 10.0), (2.5, 3.0)])
@pytest.mark.parametrize("output", ["sigmoid", "linear"])
def test_the_output_scales_to_the_range_of_the_training_part(
    output: Any, low: float, high: float, ratings: Ratings, tmp_path: Path
) -> None:
    stretched = replace(ratings, ratings=(low + (ratings.ratings - 1) / 4 * (high - low)).astype(np.float32))
    spec = spec_of(model=DotSettings(embedding_dim=2, biases=True, output=output))
    execute(spec, tmp_path / "run", stretched)
    model = FinishedRun.load(tmp_path / "run").model
    assert (model.low, model.high) == pytest.approx((low, high))
    users, items = torch.meshgrid(torch.arange(60), torch.arange(40), indexing="ij")
    predicted = model.predict(users.reshape(-1), items.reshape(-1))
    assert predicted.min().item() >= low - 1e-5 * abs(low)
    assert predicted.max().item() <= high + 1e-5 * abs(high)
    assert abs(predicted.mean().item() - stretched.ratings.mean()) < 0.2 * (high - low)


def test_the_range_is_that_of_the_training_part_alone(tmp_path: Path) -> None:
    """Ordered, the last rows validate; ratings there lie outside of what training has seen."""
    n = 100
    values = np.where(np.arange(n) < 85, 1 + np.arange(n) % 3, 50).astype(np.float32)
    ratings = Ratings("drift", np.arange(n) % 7, np.arange(n) % 5, values)
    execute(spec_of(split=SplitSettings(kind="ordered"), methods={}), tmp_path / "run", ratings)
    model = FinishedRun.load(tmp_path / "run").model
    assert (model.low, model.high) == (1.0, 3.0)


def test_training_ratings_that_are_all_alike_are_refused(tmp_path: Path) -> None:
    n = 100
    values = np.where(np.arange(n) < 85, 3, 5).astype(np.float32)
    ratings = Ratings("flat", np.arange(n) % 7, np.arange(n) % 5, values)
    spec = spec_of(split=SplitSettings(kind="ordered"), methods={})
    with pytest.raises(InputError, match=r"flat: all 85 training ratings are 3, so there is nothing to learn"):
        execute(spec, tmp_path / "run", ratings)


def test_ids_of_later_data_share_one_row_where_the_run_says_so(ratings: Ratings, tmp_path: Path) -> None:
    later = replace(ratings.select(slice(0, 3)), users=np.array([10**9, 10**9 + 1, int(ratings.users[2])]))
    execute(spec_of(), tmp_path / "strict", ratings)
    with pytest.raises(InputError, match=r"feature 'user': the raw id 1000000000 at row 1.*unseen=shared"):
        evaluated(tmp_path / "strict", later)
    execute(spec_of(vocabulary=VocabularySettings(unseen="shared")), tmp_path / "shared", ratings)
    user, _ = vocabularies(tmp_path / "shared")
    assert user.num_embeddings == len(user.values) + 1
    assert user.lookup(later.users)[:2].tolist() == [len(user.values)] * 2
    assert evaluated(tmp_path / "shared", later)["mse"] > 0


@pytest.mark.parametrize("model", [{"low": 1.0}, {"high": 5.0}, {"high": -1.0}, {"low": 7.0}])
def test_one_end_of_the_range_may_be_given(model: dict[str, float], ratings: Ratings) -> None:
    task = spec_of(model=DotSettings(embedding_dim=2, **model)).task  # type: ignore[arg-type]
    assert task.components({}, task.encoded(ratings, 3))


def test_the_scale_of_ratings_changes_nothing_but_the_scale_of_errors(ratings: Ratings, tmp_path: Path) -> None:
    hundred = replace(ratings, ratings=(ratings.ratings - 1) * 32 - 7)  # a power of two: the same digits
    spec = spec_of()
    one, other = (execute(spec, tmp_path / str(at), of)["history"] for at, of in enumerate((ratings, hundred)))
    for small, large in zip(one, other, strict=True):
        assert large["val_mse"] == pytest.approx(32**2 * small["val_mse"], rel=1e-3)
