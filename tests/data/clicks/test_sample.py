"""A sample of prepared clicks holds their first training rows, as they are."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.data.clicks import ClickData, write_sample
from coset.errors import InputError


@pytest.mark.parametrize(("rows", "parts"), [(1000, (900, 100)), (10**9, (1350, 150))])
def test_it_has_the_first_training_rows(clicks: ClickData, tmp_path: Path, rows: int, parts: tuple[int, int]) -> None:
    sample = write_sample(tmp_path / "sample", clicks, rows, validation=0.1)
    assert tuple(sample.parts.values()) == parts
    assert sample.synthetic
    for name in ("label", *clicks.numeric, *clicks.one_hot, *clicks.multi_hot):
        whole = clicks.part("training").column(name)
        found = np.concatenate([sample.part(part).column(name) for part in ("training", "validation")])
        assert np.array_equal(found, whole[: len(found)])
    batches = (of.part("training").batches(50) for of in (sample, clicks))
    for mine, its in zip(*batches, strict=False):
        values, starts = mine.bags["tags"]
        assert values.equal(its.bags["tags"][0])
        assert starts.equal(its.bags["tags"][1])
    assert sample.features[0].num_embeddings == clicks.features[0].num_embeddings
    counted = np.bincount(sample.part("training").column("C1"), minlength=200)
    assert np.array_equal(sample.features[0].frequencies, counted)


def test_a_sample_trains_and_validates(clicks: ClickData, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="too few"):
        write_sample(tmp_path / "sample", clicks, 5)
    assert not (tmp_path / "sample").exists()


def test_data_without_lists(write_clicks: Any, tmp_path: Path) -> None:
    data = write_clicks(tmp_path / "plain", rows=5000, lists=False)
    sample = write_sample(tmp_path / "sample", data, 4500)
    assert sample.parts == {"training": 4275, "validation": 225}
    assert np.array_equal(sample.part("validation").column("C2"), data.part("training").column("C2")[4275:4500])
