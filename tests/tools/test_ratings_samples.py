"""The table of samples: what is drawn, and what is shown."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from coset.data import Ratings
from coset.data.long_tail import long_tail_ratings
from tools import ratings_samples
from tools.ratings_samples import WAYS, main, sample


@cache
def ratings(rows: int = 4000) -> Ratings:
    found = long_tail_ratings(0)
    times = np.random.default_rng(0).integers(0, 1000, rows)
    return Ratings("timed", found.users[:rows], found.items[:rows], found.ratings[:rows], times=times)


@pytest.mark.parametrize("by", WAYS)
def test_a_sample_is_of_the_rows_that_it_is_drawn_by(by: str) -> None:
    data = ratings()
    found = sample(data, by, 500, 0)
    assert 500 <= len(found) < 600
    pairs = set(zip(data.users, data.items, data.ratings, strict=True))
    assert set(zip(found.users, found.items, found.ratings, strict=True)) <= pairs
    if by == "time":
        assert len(found) == 500
    else:
        whole, drawn = (of.users if by == "user" else of.items for of in (data, found))
        assert len(found) == np.isin(whole, drawn).sum()
    again, other = sample(data, by, 500, 0), sample(data, by, 500, 1)
    assert np.array_equal(found.items, again.items)
    assert not np.array_equal(found.items[:100], other.items[:100])


def test_the_table(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(ratings_samples, "load_ratings", lambda name, time: ratings())
    given = ["--rows", "300", "--by", "user", "--seeds", "1", "--out", str(tmp_path)]
    main(given)
    header, _, line = capsys.readouterr().out.splitlines()
    assert header == "| drawn by | ratings | constant | ridge bias | bias only | full | planned | behind | at most |"
    assert line.startswith("| user | 300 | ")
    main([*given, "--json"])
    (found,) = json.loads(capsys.readouterr().out)["samples"]
    assert f"{100 * found['seeds'][0]['behind']:+.2f} %" in line
