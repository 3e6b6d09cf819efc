"""Preparing a click log in Criteo's layout: rows a second and memory, from text to columns of ids.

Logs are made up: 13 numbers and 26 hexadecimal categories a row, of the cardinalities of Criteo Kaggle, following
Zipf's law with exponent 1, so that the distinct categories grow with the rows as they do in real logs. A preparation
counts the training rows' categories, numbers them by frequency, takes logarithms of numbers, standardises them, and
writes columns for training and validation. `vocabularies` does that; `hashing` gives every feature 100,000 buckets in
place of a vocabulary. Each measurement is a process of its own, which has prepared a few rows before, so that
compilation and imports do not count; `peak_mb` is the most memory that it ever had, and `bound_mb` 1 GB and 60 bytes
for each distinct category.

The peer `pandas` does the same the shortest way: `read_csv` of everything at once, `value_counts` and `map` for each
column, and `numpy.save`. It needs memory for all rows, so larger logs are compared with the smallest instead, by time
for a row, and what is written there as the peer's time is the time of the smallest log for as many rows.

    $ python benchmarks/prepare.py --rows 1000000 10000000
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from measuring import Row, arguments, draw_ids, host, report, row, say, use_threads

CARDINALITIES = (
    1460, 583, 10131227, 2202608, 305, 24, 12517, 633, 3, 93145, 5683, 8351593, 3194, 27, 14992, 5461306, 10, 5652,
    2173, 4, 7046547, 18, 15, 286181, 105, 142572,
)  # fmt: skip
NUMBERS = 13
BUCKETS = 100_000
CHUNK = 100_000
WARM = 1000
"""Rows that a process prepares before the clock counts."""


def main() -> None:
    """Measure every size and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 10_000_000], help="sizes of logs")
    parser.add_argument("--peer-rows", type=int, default=1_000_000, help="largest log that pandas is given")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each")
    parser.add_argument("--folder", type=Path, help="for the logs, which are kept there; temporary by default")
    parser.add_argument("--child", nargs=3, metavar=("HOW", "LOG", "OUT"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    use_threads(options.threads)
    if options.child:
        how, log, out = options.child
        print(json.dumps(measured(how, Path(log), Path(out), options.threads)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        rows = measure(options, Path(scratch))
    report("prepare", host(options.threads, "coset", "numba", "numpy", "pandas"), rows, options.json)


def measure(options: Any, scratch: Path) -> list[Row]:
    """All comparisons."""
    folder = options.folder or scratch
    folder.mkdir(parents=True, exist_ok=True)
    found: dict[tuple[str, int], dict[str, float]] = {}
    write_log(folder / f"{WARM}.tsv", WARM)
    for rows in sorted(options.rows):
        log = folder / f"{rows}.tsv"
        if not log.exists():
            say(f"writing a log of {rows:,} rows")
            write_log(log, rows)
        ways = ["vocabularies", "hashing"] + (["pandas"] if rows <= options.peer_rows and has_pandas() else [])
        runs: dict[str, list[dict[str, float]]] = {how: [] for how in ways}
        for _ in range(options.rounds):
            for how in ways:
                runs[how].append(child(how, log, scratch, options.threads))
        for how, times in runs.items():
            middle = statistics.median(of["ms"] for of in times)
            found[how, rows] = times[-1] | {"ms": middle, "peak_mb": max(of["peak_mb"] for of in times)}
            say(f"{how}, {rows:,} rows: {rows / middle * 1000:,.0f} rows/s")
    return compared(found)


def compared(found: dict[tuple[str, int], dict[str, float]]) -> list[Row]:
    """Every size against pandas, and against the smallest one."""
    rows = []
    smallest = min(size for _, size in found)
    for (how, size), mine in found.items():
        if how == "pandas":
            continue
        further = {
            "rows_per_second": round(1000 * size / mine["ms"]),
            "peak_mb": round(mine["peak_mb"]),
            "bound_mb": round(1000 + (60 * mine["distinct"] / 1e6 if how == "vocabularies" else 0)),
            "distinct": mine["distinct"],
        }
        case = f"{size:,} rows, {how}"
        if ("pandas", size) in found:
            peer = found["pandas", size]
            rows.append(row(case, "pandas", mine["ms"], peer["ms"], **further, peer_peak_mb=round(peer["peak_mb"])))
        if size > smallest:
            rows.append(
                row(
                    case,
                    f"coset, {smallest:,} rows",
                    mine["ms"],
                    found[how, smallest]["ms"] * size / smallest,
                    **further,
                )
            )
    if not rows:
        rows = [row(f"{smallest:,} rows, {how}", "itself", of["ms"], of["ms"]) for (how, _), of in found.items()]
    return rows


def has_pandas() -> bool:
    """Whether the peer is there; a word about it if it is not."""
    try:
        import pandas  # noqa: F401
    except ImportError:
        say("pandas is not installed: left out")
        return False
    return True


def child(how: str, log: Path, scratch: Path, threads: int) -> dict[str, float]:
    """One measurement, in a process of its own."""
    with tempfile.TemporaryDirectory(dir=scratch) as out:
        words = [sys.executable, __file__, "--child", how, str(log), out, "--threads", str(threads)]
        done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    answer: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return answer


def measured(how: str, log: Path, out: Path, threads: int) -> dict[str, float]:
    """Milliseconds of a preparation, the most memory of this process, and distinct categories."""
    import resource

    def run(path: Path, to: Path) -> int:
        if how == "pandas":
            return by_pandas(path, to)
        from coset.data.clicks.prepare import prepare
        from coset.data.clicks.settings import PrepareSettings

        hashing = {"*": BUCKETS} if how == "hashing" else None
        settings = PrepareSettings("ordered", 1 / 7, hashing=hashing)
        made = prepare(path, to, settings=settings, threads=threads)
        return sum(feature.get("distinct", 0) for feature in made["features"])

    run(log.with_name(f"{WARM}.tsv"), out / "warm")
    begin = time.perf_counter()
    distinct = run(log, out / "out")
    ms = 1000 * (time.perf_counter() - begin)
    unit = 1 if sys.platform == "darwin" else 1024
    return {"ms": ms, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, "distinct": distinct}


def by_pandas(log: Path, out: Path) -> int:
    """The peer."""
    import pandas

    numeric = [f"I{place}" for place in range(1, NUMBERS + 1)]
    categorical = [f"C{place}" for place in range(1, len(CARDINALITIES) + 1)]
    types = dict.fromkeys(numeric, "float64") | dict.fromkeys(categorical, "str")
    frame = pandas.read_csv(log, sep="\t", header=None, names=["label", *numeric, *categorical], dtype=types)
    cut = len(frame) - round(len(frame) / 7)
    out.mkdir(parents=True)
    distinct = 0

    def save(name: str, values: np.ndarray) -> None:
        np.save(out / f"{name}.training.npy", values[:cut])
        np.save(out / f"{name}.validation.npy", values[cut:])

    save("label", frame["label"].to_numpy(np.uint8))
    for name in numeric:
        values = np.copysign(np.log1p(np.abs(frame[name])), frame[name])
        missing = values.isna()
        values = ((values - values[:cut].mean()) / values[:cut].std(ddof=0)).fillna(0)
        save(name, values.to_numpy(np.float32))
        save(f"{name}:missing", missing.to_numpy(np.float32))
    for name in categorical:
        column = frame[name].fillna("missing")
        counts = column[:cut].value_counts()
        ids = pandas.Series(np.arange(len(counts)), index=counts.index)
        save(name, column.map(ids).fillna(len(counts)).to_numpy(np.int32))
        np.save(out / f"{name}.values.npy", counts.index.to_numpy(dtype="U8"))
        distinct += len(counts)
    return distinct


def write_log(path: Path, rows: int) -> None:
    """A log in Criteo's layout."""
    import polars

    draw = np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, CHUNK):
            count = min(CHUNK, rows - start)
            columns = {"label": polars.Series(draw.integers(0, 2, count))}
            for place in range(NUMBERS):
                values = polars.Series(np.floor(np.exp(draw.exponential(1.5, count)) - 2).astype(np.int64))
                columns[f"I{place}"] = values.set(polars.Series(draw.random(count) < 0.2), None)
            for place, cardinality in enumerate(CARDINALITIES):
                ids = draw_ids("skewed", cardinality, count, draw).astype(np.uint64)
                words = (ids * np.uint64(0x9E3779B97F4A7C15) + np.uint64(place)) >> np.uint64(32)
                text = np.frombuffer(words.astype(">u4").tobytes().hex().encode(), dtype="S8").astype("U8")
                missing = draw.random(count) < (0.4 if place > 18 else 0.02)
                columns[f"C{place}"] = polars.Series(text).set(polars.Series(missing), None)
            file.write(polars.DataFrame(columns).write_csv(separator="\t", include_header=False).encode())


if __name__ == "__main__":
    main()
