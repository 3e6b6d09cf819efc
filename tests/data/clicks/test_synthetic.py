"""The synthetic twin of click logs: its law, its rows, and what it says of the best predictor."""

from __future__ import annotations

import hashlib
import json
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.data.clicks import CRITEO_KAGGLE, CRITEO_KAGGLE_CARDINALITIES, ClickData, ClickLaw, write_synthetic
from coset.data.clicks.synthetic import BLOCK, Drawn
from coset.errors import InputError

SIZES = (1000, 3, 10_131_227, 50)
MASK = (1 << 64) - 1


@pytest.fixture(scope="module")
def law() -> ClickLaw:
    return ClickLaw(SIZES, num_numeric=2)


@pytest.fixture(scope="module")
def drawn(law: ClickLaw) -> Drawn:
    return law.block(0)


def entropy(p: np.ndarray) -> np.ndarray:
    return np.asarray(-p * np.log(p) - (1 - p) * np.log(1 - p))


# -- the law -----------------------------------------------------------------------------------------------------------


def mixed(word: int) -> int:
    """SplitMix64 of a whole number, by Python's own."""
    word = (word ^ word >> 30) * 0xBF58476D1CE4E5B9 & MASK
    word = (word ^ word >> 27) * 0x94D049BB133111EB & MASK
    return word ^ word >> 31


def test_splitmix_is_that_of_its_authors() -> None:
    # The first numbers of the published generator with seed 0: its state goes up by the golden ratio before each.
    assert [mixed(n * 0x9E3779B97F4A7C15 & MASK) for n in (1, 2)] == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


def test_logits_are_those_of_the_formula(law: ClickLaw, drawn: Drawn) -> None:
    """Of some rows, number by number; the middle of the numbers' share is taken from the law itself."""
    rows = slice(0, 40)
    numeric, ids = drawn.numeric[rows], drawn.ids[:, rows]
    keys = np.random.PCG64(np.random.SeedSequence([0, 1, 0])).random_raw(4)
    linear, bent = law._slopes
    for row in range(40):
        vectors = []
        for feature in range(4):
            index = int(ids[feature, row])
            word = mixed((index * 0x9E3779B97F4A7C15 + int(keys[feature])) & MASK)
            fade = (1 + index / 1000) ** -0.25
            uniform = [((word >> 16 * quarter & 0xFFFF) + 0.5) / 65536 - 0.5 for quarter in range(4)]
            vectors.append([value * 12**0.5 * fade for value in uniform])
        expected = law._intercept + sum(vector[0] for vector in vectors) / 2
        for one in range(4):
            for other in range(one):
                dot = sum(a * b for a, b in zip(vectors[one][1:], vectors[other][1:], strict=True))
                expected += dot * (0.5 / (6 * 3)) ** 0.5
        x = numeric[row].astype(float)
        expected += float(linear @ x + bent @ (x**2 - 1))
        assert law.logits(numeric, ids)[row] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert float((linear**2).sum() + 2 * (bent**2).sum()) == pytest.approx(0.4)


def test_rows_are_drawn_by_the_law(law: ClickLaw, drawn: Drawn) -> None:
    logits = law.logits(drawn.numeric, drawn.ids)
    np.testing.assert_allclose(drawn.probabilities, 1 / (1 + np.exp(-logits)))
    assert drawn.probabilities.mean() == pytest.approx(0.256, abs=0.01)  # Criteo's share of clicks
    assert drawn.labels.mean() == pytest.approx(drawn.probabilities.mean(), abs=0.005)
    middle = (drawn.probabilities > 0.4) & (drawn.probabilities < 0.5)
    assert drawn.labels[middle].mean() == pytest.approx(drawn.probabilities[middle].mean(), abs=0.02)
    assert drawn.numeric.mean(axis=0) == pytest.approx([0, 0], abs=0.02)
    assert drawn.numeric.std(axis=0) == pytest.approx([1, 1], abs=0.02)


def test_ids_follow_zipfs_law(drawn: Drawn) -> None:
    for size, column in zip(SIZES, drawn.ids, strict=True):
        assert 0 <= column.min() <= column.max() < size
        ranks = np.arange(5) if size > 5 else np.arange(size)
        expected = np.log(1 + 1 / (ranks + 1)) / np.log(size + 1)
        assert [(column == rank).mean() for rank in ranks] == pytest.approx(expected, abs=0.01)
    assert drawn.ids[2].max() > 5_000_000


@pytest.mark.parametrize("skew", [0.0, 0.5, 1.2])
def test_other_skews(skew: float) -> None:
    column = ClickLaw((20,), 0, skew=skew).block(0).ids[0]
    edges = np.arange(1, 22.0)
    mass = edges if skew == 0 else edges ** (1 - skew) / (1 - skew)
    expected = np.diff(mass) / (mass[-1] - mass[0])
    assert np.bincount(column, minlength=20) / BLOCK == pytest.approx(expected, abs=0.01)


def test_every_id_matters_by_itself(law: ClickLaw, drawn: Drawn) -> None:
    """Ids that share a row of a quarter as many have effects of their own."""
    rows = 1000
    numeric, ids = np.zeros((rows, 2), np.float32), np.zeros((4, rows), np.int64)
    ids[0] = np.arange(rows)
    logits = law.logits(numeric, ids)
    assert len(np.unique(logits)) == rows
    assert abs(np.corrcoef(logits[:250], logits[250:500])[0, 1]) < 0.2


def test_rare_ids_say_less(law: ClickLaw) -> None:
    numeric, ids = np.zeros((2000, 2), np.float32), np.zeros((4, 2000), np.int64)
    ids[2] = np.arange(2000)
    hot = law.logits(numeric, ids).std()
    ids[2] += 10_000_000
    cold = law.logits(numeric, ids).std()
    assert cold == pytest.approx(0.1 * hot, rel=0.3)


def test_seeds_are_other_twins() -> None:
    first, again, other = (ClickLaw((100, 20), 1, seed=seed).block(3) for seed in (1, 1, 2))
    for one, two, three in zip(first, again, other, strict=True):
        assert np.array_equal(one, two)
        assert not np.array_equal(one, three)


def test_it_is_the_same_on_every_machine(law: ClickLaw) -> None:
    drawn = law.block(1)
    total = hashlib.sha256()
    total.update(np.ascontiguousarray(drawn.ids, dtype="<i8").tobytes())
    total.update(drawn.labels.tobytes())
    assert total.hexdigest() == "0981d4fd0459751e75f9884363aba2e8ebe5d0db3754140cef45f01b3d3c7985"


# -- what is written ---------------------------------------------------------------------------------------------------


def test_what_is_written_are_the_rows_of_the_law(tmp_path: Path, law: ClickLaw) -> None:
    told: list[int] = []
    rows = BLOCK + 4000
    data = write_synthetic(tmp_path, rows, SIZES, num_numeric=2, validation=0.25, progress=told.append)
    assert told == [BLOCK, 4000]
    validation = rows // 4
    assert data.parts == {"training": rows - validation, "validation": validation}
    assert (data.name, data.synthetic, data.numeric) == ("synthetic-clicks", True, ("I1", "I2"))
    assert [(f.name, f.num_embeddings) for f in data.features] == [(f"C{n}", s) for n, s in enumerate(SIZES, 1)]
    blocks = law.block(0), law.block(1)
    labels = np.concatenate([blocks[0].labels, blocks[1].labels[:4000]])
    assert np.array_equal(np.concatenate([data.part(p).column("label") for p in data.parts]), labels)
    ids = np.concatenate([blocks[0].ids[2], blocks[1].ids[2][:4000]])
    assert np.array_equal(np.concatenate([data.part(p).column("C3") for p in data.parts]), ids)
    numeric = np.concatenate([blocks[0].numeric[:, 1], blocks[1].numeric[:4000, 1]])
    assert np.array_equal(np.concatenate([data.part(p).column("I2") for p in data.parts]), numeric)
    p = np.concatenate([blocks[0].probabilities, blocks[1].probabilities[:4000]])[-validation:]
    assert data.facts["best_of"] == "validation"
    assert data.facts["best_log_loss"] == pytest.approx(entropy(p).mean())
    oracle = -np.log(np.where(labels[-validation:] == 1, p, 1 - p)).mean()
    assert data.facts["oracle_log_loss"] == pytest.approx(oracle)
    assert oracle == pytest.approx(entropy(p).mean(), abs=0.01)
    assert data.facts["law"]["cardinalities"] == list(SIZES)
    json.dumps(data.facts)


def test_without_validation_the_best_is_of_training(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, 500, (10, 20), validation=0.0)
    assert data.parts == {"training": 500, "validation": 0}
    assert data.facts["best_of"] == "training"
    assert 0.2 < data.facts["best_log_loss"] < 0.6


def test_the_cardinalities_are_criteos() -> None:
    assert len(CRITEO_KAGGLE_CARDINALITIES) == len(CRITEO_KAGGLE.categorical) == 26
    assert sum(CRITEO_KAGGLE_CARDINALITIES) == 33_762_577
    assert ClickLaw().num_numeric == len(CRITEO_KAGGLE.numeric)


def test_drawing_needs_no_tables() -> None:
    """A block of rows of 10^12 ids takes no more memory than one of 10."""
    peaks = []
    for size in (10, 10**12):
        law = ClickLaw((size,) * 3, 2)
        tracemalloc.start()
        law.block(0)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0] < 100e6


def test_one_feature_and_no_numbers(tmp_path: Path) -> None:
    data = write_synthetic(tmp_path, 100, (7,), num_numeric=0)
    assert isinstance(data, ClickData)
    assert data.numeric == ()


@pytest.mark.parametrize(
    ("choices", "message"),
    [
        ({"cardinalities": ()}, "at least one feature"),
        ({"cardinalities": (3, 0)}, "1 … 2\\^40, not 0"),
        ({"cardinalities": (3.5,)}, "cardinalities"),
        ({"seed": -1}, "seed must be 0 or more"),
        ({"num_numeric": -1}, "num_numeric must be 0 or more"),
        ({"skew": -0.1}, "skew"),
        ({"skew": float("nan")}, "skew"),
        ({"rows": 0}, "rows must be at least 1"),
        ({"validation": 1.0}, "validation"),
    ],
)
def test_bad_choices(tmp_path: Path, choices: dict[str, Any], message: str) -> None:
    given: dict[str, Any] = {"rows": 10, "cardinalities": (3,)} | choices
    with pytest.raises(InputError, match=message):
        write_synthetic(tmp_path / "out", **given)
    assert not (tmp_path / "out").exists()


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("kept", encoding="utf-8")
    with pytest.raises(InputError):
        write_synthetic(tmp_path, 10, (3,))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
