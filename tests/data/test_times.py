"""Times of ratings, exactly, from columns of any type; and the splits that go by them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from coset.data import load_ratings
from coset.data.ratings import Ratings
from coset.data.settings import DataSettings, SplitSettings
from coset.errors import InputError

START = datetime(2020, 2, 28, 23, 59, 58, tzinfo=UTC)


def write(path: Path, times: list[object]) -> Path:
    path.write_text(
        "user,item,rating,time\n" + "".join(f"{n % 3},{n},{n % 5},{time}\n" for n, time in enumerate(times))
    )
    return path


def ranks(times: np.ndarray) -> list[int]:
    return np.unique(times, return_inverse=True)[1].tolist()


@pytest.mark.parametrize(
    "times",
    [
        [9007199254740993, 9007199254740992, 9223372036854775807],
        ["1.5", "1.25", "3"],
        ["881250949.000000001", "881250949", "881250950"],
        ["2020-01-02", "2020-01-01T23:59:59.9999", "2020-01-02 00:00:00.000000001"],
        ["2020-01-01T01:30:00+01:00", "2020-01-01T00:29:59Z", "2020-01-01T00:30:01"],
        [-2, -3, 0],
    ],
)
def test_times_of_text_are_exact(tmp_path: Path, times: list[object]) -> None:
    found = load_ratings(write(tmp_path / "a.csv", times), time="time").times
    assert found is not None
    assert found.dtype == np.int64
    assert ranks(found) == [1, 0, 2]
    assert load_ratings(tmp_path / "a.csv").times is None


def test_whole_numbers_are_kept(tmp_path: Path) -> None:
    found = load_ratings(write(tmp_path / "a.csv", [881250949, 5, 2**62]), time=True).times
    assert found is not None
    assert found.tolist() == [881250949, 5, 2**62]


@pytest.mark.parametrize(
    "kind", [pl.Int64, pl.Float64, pl.Datetime("ns"), pl.Datetime("ms", "Asia/Tokyo"), pl.Date, pl.String]
)
def test_times_of_parquet_are_those_of_text(tmp_path: Path, kind: pl.DataType) -> None:
    days = [START + timedelta(days=day) for day in (3, 1, 2, 1)]
    column = pl.Series("timestamp", days)
    if kind in (pl.Int64, pl.Float64):
        column = column.dt.epoch("s").cast(kind)
    elif kind == pl.String:
        column = column.dt.strftime("%Y-%m-%dT%H:%M:%SZ")
    else:
        column = column.cast(kind)
    pl.DataFrame({"user": [1, 2, 1, 2], "item": [1, 2, 3, 4], "rating": [1, 2, 3, 4]}).with_columns(
        column
    ).write_parquet(tmp_path / "a.parquet")
    found = load_ratings(tmp_path / "a.parquet", time=True).times
    assert found is not None
    assert ranks(found) == [2, 0, 1, 0]


@pytest.mark.parametrize(
    ("times", "said"),
    [
        ([1, "", 3], r"a\.csv, line 3, column 'time': the time is missing"),
        ([1, "yesterday", 3], r"line 3, column 'time': the time 'yesterday' is neither a number nor a date"),
        ([1, "2020-01-01", 3], r"line 3.*'2020-01-01' is a date where others are numbers"),
        (["2020-01-01", 7, "2020-01-02"], r"line 3.*'7' is a number where others are dates"),
        ([1, 2**63, 3], r"line 3.*'9223372036854775808' is beyond 64 bits"),
    ],
)
def test_what_is_wrong_with_a_time_is_told(tmp_path: Path, times: list[object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        load_ratings(write(tmp_path / "a.csv", times), time=True)


def test_a_column_of_times_is_looked_for_by_its_usual_names(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("user,item,rating,when\n1,1,1,5\n2,2,2,4\n")
    with pytest.raises(InputError, match=r"no column looks like the time.*--time\)$"):
        load_ratings(path, time=True)
    assert load_ratings(path, time="when").times is not None
    with pytest.raises(InputError, match="synthetic-ratings has no times"):
        load_ratings("synthetic-ratings", time=True)


def ratings(users: list[int], times: list[int]) -> Ratings:
    n = len(users)
    return Ratings("tiny", users, list(range(n)), list(range(n)), times=np.array(times))


def test_a_split_by_time_holds_out_the_latest_and_none_of_their_time_else() -> None:
    data = ratings([1, 1, 2, 2, 3, 3], [50, 10, 40, 20, 40, 30])
    split = SplitSettings("time", 1 / 3).split(data, 0)
    assert split.validation.tolist() == [0, 2, 4]  # two were asked for, and the second has a twin
    assert split.training.tolist() == [1, 3, 5]
    assert split.future
    inner = split.tuning(1 / 3)
    assert (inner.validation.tolist(), inner.training.tolist()) == ([5], [1, 3])


def test_a_split_leaves_out_the_last_of_each_user() -> None:
    data = ratings([1, 1, 2, 2, 3, 1], [50, 10, 40, 40, 40, 30])
    split = SplitSettings("last").split(data, 0)
    assert split.validation.tolist() == [0, 3]  # of two at one time, the later row; a user of one row keeps it
    assert split.training.tolist() == [1, 2, 4, 5]
    inner = split.tuning()
    assert (inner.validation.tolist(), inner.training.tolist()) == ([5], [1, 2, 4])


def test_times_go_with_their_rows() -> None:
    data = ratings([1, 1, 2, 2], [4, 3, 2, 1]).select([2, 0])
    assert data.times is not None
    assert data.times.tolist() == [2, 4]


@pytest.mark.parametrize(
    ("kind", "users", "times", "said"),
    [
        ("time", [1, 2, 1], [7, 7, 7], r"tiny: all rows are of one time \(7\)"),
        ("time", [1, 2, 1], [7, 7, 9], r"tiny: the earliest rows are of one time \(7\)"),
        ("last", [1, 2, 3], [7, 7, 9], "tiny: no user has two rows"),
    ],
)
def test_splits_that_cannot_be(kind: str, users: list[int], times: list[int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        SplitSettings(kind, 0.6).split(ratings(users, times), 0)  # type: ignore[arg-type]


def test_a_split_by_time_needs_times(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a split by time needs times, and there are none"):
        SplitSettings("time").split(Ratings("tiny", [1, 2], [1, 2], [1, 2]), 0)
    data = DataSettings(str(write(tmp_path / "a.csv", [3, 1, 2])))
    assert data.load().times is None
    assert data.load(timed=True).times is not None
