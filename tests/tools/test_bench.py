"""The benchmarks: which there are, what a run of them yields, and the page that is made of it."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from coset.errors import InputError
from tools import bench, benchmarks_page

ROW = {"case": "d=4, uniform", "peer": "a peer", "coset_ms": 2.0, "peer_ms": 5.0, "ratio": 2.5}
SCRIPT = '''"""What is measured.

A word more.

    $ python benchmarks/{name}.py
"""
import json, sys
print("a word beside", file=sys.stderr)
print(json.dumps({{"benchmark": "{name}", "host": {{"cores": len(sys.argv)}}, "rows": [{row}]}}))
'''


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout with two benchmarks."""
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    (folder / "measuring.py").write_text("")
    for name in ("one", "two"):
        (folder / f"{name}.py").write_text(SCRIPT.format(name=name, row=ROW))
    return tmp_path


@pytest.fixture
def measuring() -> Any:
    """The module that the scripts share."""
    spec = importlib.util.spec_from_file_location("measuring", bench.ROOT / "benchmarks" / "measuring.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_benchmarks_of_this_checkout_are_found() -> None:
    names = {
        "artifacts",
        "click_step",
        "embedding_step",
        "engines",
        "inference",
        "keras_example",
        "keras_mixed_dimension",
        "prepare",
    }
    names |= {"compress_checkpoint", "low_precision", "ratings_peers", "scale"}
    assert names == bench.scripts().keys()


def test_rating_models_are_compared_with_the_first_fit_that_is_as_good_and_as_small(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(bench.ROOT / "benchmarks"))
    peers = importlib.import_module("ratings_peers")

    def fits(seconds: list[float], size: int, mse: float) -> list[dict[str, float]]:
        return [{"data": 0.5, "seconds": of, "bytes": size, "val_mse": mse} for of in seconds]

    fast, slow = peers.OWN
    found = {fast: fits([1, 9, 2], 100, 0.8), slow: fits([8], 900, 0.7), "worse": fits([4], 100, 0.8),
             "better": fits([16], 1000, 0.75), "small": fits([3], 10, 0.9), "failed": []}  # fmt: skip
    rows = {row["peer"]: row for row in peers.rows_of(found)}
    assert set(rows) == {"worse", "better", "small"}
    assert (rows["worse"]["coset_ms"], rows["worse"]["ratio"]) == (2500, 1.8)  # the median of three
    assert (rows["better"]["coset_mse"], rows["better"]["coset_bytes"], rows["better"]["peer_fit_ms"]) == (
        0.7,
        900,
        16000,
    )
    assert rows["small"]["coset_bytes"] == 100  # none is as small: the row shows it


def test_one_benchmark_runs_with_its_options_and_all_run_in_order(checkout: Path) -> None:
    found = list(bench.bench("one", ["--quick"], checkout / "results", root=checkout))
    assert [(of["benchmark"], of["host"]["cores"]) for of in found] == [("one", 3)]
    assert [path.name for path in (checkout / "results").iterdir()] == ["one.json"]
    assert json.loads((checkout / "results" / "one.json").read_text("utf-8")) == found[0]
    assert [of["benchmark"] for of in bench.bench(root=checkout)] == ["one", "two"]


def test_an_unknown_name_is_an_error_with_the_nearest(checkout: Path) -> None:
    with pytest.raises(InputError, match="unknown benchmark 'on': did you mean 'one'"):
        list(bench.bench("on", root=checkout))


@pytest.mark.parametrize(
    ("script", "sentence"),
    [("raise SystemExit(3)", "ended with code 3"), ("print('no')", "no results"), ("print('[]')", "no results")],
)
def test_what_did_not_end_well_is_told_after_the_others_are_done(
    checkout: Path, script: str, sentence: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (checkout / "benchmarks" / "one.py").write_text(script)
    run = bench.bench(root=checkout)
    assert next(run)["benchmark"] == "two"
    assert sentence in capfd.readouterr().err
    with pytest.raises(InputError, match="not measured: one;"):
        next(run)
    with pytest.raises(InputError, match=sentence):
        list(bench.bench("one", root=checkout))


def test_an_environment_with_the_peers_is_preferred(checkout: Path) -> None:
    python = checkout / ".venv-bench" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\necho "peers are here" >&2\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    assert next(bench.bench("one", root=checkout))["rows"] == [ROW]
    python.write_text("#!/bin/sh\nexit 9\n")
    with pytest.raises(InputError, match="code 9"):
        next(bench.bench("one", root=checkout))


def test_the_command_prints_a_table_or_one_json_object(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(bench.bench, "__kwdefaults__", {"root": checkout})
    bench.main(["one", "--json", "--", "--quick", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["host"], found["rows"]) == ({"cores": 4}, [ROW])
    bench.main(["--json"])
    assert [of["benchmark"] for of in json.loads(capsys.readouterr().out)["benchmarks"]] == ["one", "two"]
    bench.main(["one"])
    assert "d=4, uniform  a peer" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        bench.main(["three"])
    assert "unknown benchmark 'three'" in capsys.readouterr().err


def test_the_page_shows_what_was_measured_and_what_the_script_says_of_it(checkout: Path) -> None:
    assert "no results yet" in benchmarks_page.page(checkout)
    assert list(bench.bench("one", out=checkout / "benchmarks" / "results", root=checkout))
    page = benchmarks_page.page(checkout)
    assert "## one\n\nWhat is measured.\n\nA word more.\n\n| case |" in page
    assert "| d=4, uniform | a peer | 2 | 5 | 2.50 |" in page
    assert "$" not in page
    assert "no results yet" not in page


def test_further_numbers_get_columns_and_blanks_where_a_row_has_none(checkout: Path) -> None:
    results = checkout / "benchmarks" / "results"
    results.mkdir()
    rows = [ROW | {"resident_mb": 1234.4}, ROW | {"coset_ms": 12345.6}]
    (results / "gone.json").write_text(json.dumps({"benchmark": "gone", "host": {"l3_mib": 32}, "rows": rows}))
    page = benchmarks_page.page(checkout)
    assert "| ratio | resident mb |" in page
    assert "| 2.50 | 1,234 |" in page
    assert "| 12,346 | 5 | 2.50 |  |" in page
    assert "Measured on l3 mib 32." in page


# -- what the scripts share -----------------------------------------------------------------------------------------


def test_turns_alternate_and_slow_steps_end_early(measuring: Any) -> None:
    calls: list[str] = []
    found = measuring.in_turns(
        {"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, rounds=4, warm_up=1, turn=2
    )
    assert "".join(calls) == "ab" + "aabb" * 4
    assert found.keys() == {"a", "b"}
    calls.clear()
    measuring.in_turns({"a": lambda: calls.append("a")}, rounds=99, warm_up=9, turn=9, limit=0.0)
    assert len(calls) == 2 + 3  # two to warm up, and three turns of one step


def test_ids_are_in_range_and_follow_their_law(measuring: Any) -> None:
    draw = np.random.default_rng(0)
    for law in measuring.LAWS:
        for n in (1, 3, 10**8):
            ids = measuring.draw_ids(law, n, 10_000, draw)
            assert ids.dtype == np.int64
            assert 0 <= ids.min() <= ids.max() < n
    shares = np.bincount(measuring.draw_ids("skewed", 1000, 200_000, draw), minlength=1000) / 200_000
    expected = np.log1p(1 / np.arange(1, 1001)) / np.log(1001)
    assert np.abs(shares - expected).max() < 0.005


def test_a_row_has_the_peers_time_over_cosets(measuring: Any) -> None:
    assert measuring.row("d=4, uniform", "a peer", 2.0, 5.0) == ROW
