"""What the worked examples of `examples/extending` add to coset from outside, each one file, through entry points."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from coset.data.sources.base import SOURCES
from coset.storage.base import STORAGES

EXAMPLES = Path(__file__).parents[1] / "examples" / "extending"


def test_a_storage(installed: Callable[..., Any]) -> None:
    """It keeps its promises, alone and under methods, and trains: the row, and the row in common."""
    import torch

    from coset import Embedding, LowRank, Table, predict
    from coset.storage import registered_storages, storage
    from coset.testing import STORAGE_CHECKS, check_storage

    installed(STORAGES, "centred")
    chosen = storage("centred")
    under_methods = "components_are_the_stored_tensors", "padding_reads_no_parameter", "state_saves_and_reloads"
    check_storage(registered_storages()["centred"], [*STORAGE_CHECKS, *under_methods])
    tables = [(Table("item", 100, 8), LowRank(4, storage=chosen))]
    assert predict(tables).parameters == (100 * 4 + 4 * 8) * 2 + (4 + 8) * 4
    module = Embedding(50, 8, {"method": "full", "storage": {"storage": "centred"}})
    optimizer = torch.optim.SGD(module.parameters(), lr=1.0)
    before = module.materialize()
    module(torch.tensor([3])).sum().backward()
    optimizer.step()
    assert torch.allclose(module.materialize()[3], before[3] - 2, atol=2**-6)


def rated(folder: Path) -> Path:
    path = folder / "reviews.json"
    rows = [{"user": u, "item": f"i{i}", "rating": (u + i) % 5 + 1, "at": 1000 + u} for u in range(6) for i in range(4)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_source_of_ratings(installed: Callable[..., Any], tmp_path: Path) -> None:
    """Without it, the file is refused with a way out; with it, it is read, and may be named."""
    from coset.data import load_ratings
    from coset.errors import InputError

    path = rated(tmp_path)
    with pytest.raises(InputError, match="JSON, an object a line, which coset does not read"):
        load_ratings(path)
    installed(SOURCES, "json_lines")
    found = load_ratings(path, time="at")
    assert (len(found), found.users[0], found.items[1], found.ratings[:3].tolist()) == (24, 0, "i1", [1, 2, 3])
    assert len(load_ratings(path, reader="json_lines")) == 24
    with pytest.raises(InputError, match=r"unknown reader .*'json_line': did you mean 'json_lines'"):
        load_ratings(path, reader="json_line")


def test_a_source_of_clicks(installed: Callable[..., Any], tmp_path: Path) -> None:
    """It gives the same prepared data as the same rows in Parquet, with lists and missing values."""
    installed(SOURCES, "json_lines")
    import polars

    from coset.data.clicks import ClickData
    from coset.data.clicks.prepare import prepare
    from coset.data.clicks.schema import ClickSchema

    rows = [
        {"label": at % 3 == 0, "age": at * 1.5 if at % 4 else None, "site": f"s{at % 7}", "tags": [at % 5, at % 2]}
        for at in range(400)
    ]
    log = tmp_path / "log.json"
    log.write_text("".join(json.dumps({**row, "label": int(row["label"])}) + "\n" for row in rows))
    polars.read_ndjson(log).write_parquet(tmp_path / "log.parquet")
    schema = ClickSchema("label", numeric=("age",), categorical=("site",), lists=("tags",))
    told = []
    for name in ("log.json", "log.parquet"):
        prepare(str(tmp_path / name), tmp_path / f"of-{name}", schema)
        told.append(ClickData.open(tmp_path / f"of-{name}"))
    one, other = told
    assert one.parts == other.parts
    assert one.facts["content"] == other.facts["content"]


def test_a_source_that_claims_a_file_and_fails_is_named(installed: Callable[..., Any], tmp_path: Path) -> None:
    installed(SOURCES, "json_lines")
    from coset.data import load_ratings
    from coset.data.sources import registered_sources
    from coset.errors import InputError

    path = tmp_path / "odd.json"
    path.write_text('{"user": 1}\n{"user": [1, {"x"}\n')
    with pytest.raises(InputError) as error:
        load_ratings(path)
    for words in (f"{path}: the source 'json_lines' of json_lines took this file and failed", "data.reader", "text"):
        assert words in str(error.value)
    assert "\n" not in str(error.value)

    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("division by zero")

    kind = registered_sources()["json_lines"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kind, "blocks", broken)
        with pytest.raises(InputError, match=r"took this file and failed .ZeroDivisionError: division by zero"):
            load_ratings(rated(tmp_path))


def test_an_installed_package_is_found(tmp_path: Path) -> None:
    """In a process of its own, with nothing patched."""
    found = tmp_path / "json_lines-1.0.dist-info"
    found.mkdir()
    (found / "METADATA").write_text("Metadata-Version: 2.1\nName: json-lines\nVersion: 1.0\n")
    (found / "entry_points.txt").write_text("[coset.sources]\njson_lines = json_lines\n")
    (tmp_path / "json_lines.py").write_text((EXAMPLES / "json_lines.py").read_text())
    path = rated(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n"
        f"from coset.data import load_ratings; print(len(load_ratings({str(path)!r})))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=250, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert run.stdout == "24\n"
