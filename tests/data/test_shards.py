"""Which files a folder or a pattern stands for, and in which order."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from coset.data.shards import Shard, in_order, shards
from coset.errors import InputError


@pytest.mark.parametrize(
    "names",
    [
        ["day_0", "day_1", "day_2", "day_9", "day_10", "day_11", "day_100"],
        ["part-00009.csv", "part-00010.csv", "part-99999.csv", "part-100000.csv"],
        ["1-2.csv", "1-10.csv", "2-1.csv", "10-1.csv"],
        ["2019-12-31.csv", "2020-01-02.csv", "2020-1-10.csv", "2020-02-01.csv"],
        ["9.csv", "10.csv", "a.csv", "a1.csv", "b.csv"],
        ["day_01.csv", "day_1.csv", "day_02.csv"],
        ["dt=2020-01-09/part-2.parquet", "dt=2020-01-10/part-0.parquet", "dt=2020-01-10/part-10.parquet"],
        ["dt=1/hour=2/x.csv", "dt=1/hour=11/x.csv", "dt=2/hour=1/x.csv"],
    ],
)
def test_numbers_in_names_are_numbers(names: list[str]) -> None:
    mixed = random.Random(0).sample(names, len(names))
    assert [shard.name for shard in sorted((Shard(Path(n), n) for n in mixed), key=in_order)] == names


def test_folders_of_any_depth_and_what_they_say(tmp_path: Path) -> None:
    for name in (
        "dt=2020-01-10/part-0.csv", "dt=2020-01-09/city=a%2Fb/part-10.csv", "dt=2020-01-09/city=a%2Fb/part-9.csv",
        "dt=__HIVE_DEFAULT_PARTITION__/x.csv", "_temporary/0/part-1.csv", ".hidden/x.csv", "_SUCCESS", ".x.csv.crc",
        "day_3", "README", "notes.md",
    ):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("y,a\n")
    found = shards(tmp_path, [".csv"])
    assert {shard.name: dict(shard.keys) for shard in found} == {
        "day_3": {},
        "dt=2020-01-09/city=a%2Fb/part-9.csv": {"dt": "2020-01-09", "city": "a/b"},
        "dt=2020-01-09/city=a%2Fb/part-10.csv": {"dt": "2020-01-09", "city": "a/b"},
        "dt=2020-01-10/part-0.csv": {"dt": "2020-01-10"},
        "dt=__HIVE_DEFAULT_PARTITION__/x.csv": {"dt": ""},
    }
    (one,) = shards(tmp_path / "dt=2020-01-10" / "part-0.csv", [".csv"])
    assert (one.name, one.keys) == ("part-0.csv", {"dt": "2020-01-10"})
    pattern = shards(tmp_path / "dt=*" / "**" / "part*", [".csv"])
    assert [shard.path.name for shard in pattern] == ["part-9.csv", "part-10.csv", "part-0.csv"]


def test_folders_and_patterns_of_nothing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"holds no file that ends in \.csv, \.tsv"):
        shards(tmp_path, [".csv", ".tsv"])
    with pytest.raises(InputError, match="no file fits this pattern"):
        shards(tmp_path / "day_*", [".csv"])
    (tmp_path / "day[1].csv").write_text("y")
    assert [shard.name for shard in shards(tmp_path / "day[1].csv", [".csv"])] == ["day[1].csv"]


def test_a_whole_disk_is_not_walked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from coset.data import shards as module

    for number in range(4):
        (tmp_path / str(number)).mkdir()
    (tmp_path / "3" / "day_1.csv").write_text("y")
    monkeypatch.setattr(module, "MOST_FOLDERS", 4)
    assert len(shards(tmp_path, [".csv"])) == 1
    monkeypatch.setattr(module, "MOST_FOLDERS", 3)
    with pytest.raises(InputError, match="more than 3 folders"):
        shards(tmp_path, [".csv"])
