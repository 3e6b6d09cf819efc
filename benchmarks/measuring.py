"""What the benchmarks share: options, timing in turns, ids to look up, facts about the host, a table or JSON."""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

Row = dict[str, Any]
"""One comparison: case, peer, coset_ms, peer_ms and their ratio, peer over coset."""

LAWS = ("skewed", "uniform")
DEFAULT_L3 = 32 << 20
"""Bytes of the last cache, where the system does not say."""


def arguments(description: str | None, threads: int | None = None) -> argparse.ArgumentParser:
    """A parser with the options that every script has: `--json` and `--threads`, all cores by default."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.add_argument("--threads", type=int, default=threads or cores(), help="for coset and its peers alike")
    return parser


def use_threads(threads: int) -> None:
    """Give every library so many threads; those that read it from the environment must not be imported yet."""
    if not 1 <= threads <= cores():
        sys.exit(f"--threads must lie in 1 … {cores()}, the cores of this machine, not {threads}")
    names = ("OMP", "MKL", "NUMBA", "TF_INTRAOP", "TF_INTEROP")
    for name in names:
        first, _, rest = name.partition("_")
        os.environ[f"{first}_NUM_{rest}_THREADS" if rest else f"{first}_NUM_THREADS"] = str(threads)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(threads)


def in_turns(
    steps: Mapping[str, Callable[[], object]], *, rounds: int, warm_up: int, turn: int = 1, limit: float = float("inf")
) -> dict[str, float]:
    """Median milliseconds of each step.

    A turn is some steps in a row, so that each finds the caches as its like left them; then comes the next one's turn,
    so that whatever else the machine does falls on all alike.

    Args:
        rounds: turns of each.
        warm_up: steps of each before the clock counts: compilation, first touches of memory.
        turn: steps in a turn.
        limit: seconds of each, in all; slow steps end with fewer rounds then, but with 3 at least, and warm up less.
    """
    for step in steps.values():
        end = time.perf_counter() + limit / 4
        for done in range(warm_up):
            if done < 2 or time.perf_counter() < end:
                step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for done in range(rounds):
        for name, step in steps.items():
            taken = times[name]
            if done >= 3 and sum(taken) > limit:
                continue
            last = time.perf_counter() + limit / 4
            for _ in range(turn):
                begin = time.perf_counter()
                step()
                end = time.perf_counter()
                taken.append(end - begin)
                if end > last:
                    break
    return {name: 1000 * statistics.median(taken) for name, taken in times.items()}


def row(case: str, peer: str, coset_ms: float, peer_ms: float, **more: float) -> Row:
    """One comparison."""
    ratio = round(peer_ms / coset_ms, 3)
    return {"case": case, "peer": peer, "coset_ms": round(coset_ms, 4), "peer_ms": round(peer_ms, 4),
            "ratio": ratio, **more}  # fmt: skip


def report(benchmark: str, host: Mapping[str, Any], rows: Sequence[Row], as_json: bool) -> None:
    """Print the rows as one JSON object or as a table."""
    if as_json:
        print(json.dumps({"benchmark": benchmark, "host": host, "rows": rows}, indent=2, ensure_ascii=False))
        return
    wide = max((len(row["case"]) for row in rows), default=4)
    print(f"{'case':{wide}}  {'peer':28} {'coset ms':>10} {'peer ms':>10} {'ratio':>8}")
    for row in rows:
        further = [
            f"{name} {value:.4f}" if name.endswith("_mse") else f"{name} {value:,.0f}"
            for name, value in row.items()
            if name not in _COLUMNS
        ]
        print(f"{row['case']:{wide}}  {row['peer']:28} {row['coset_ms']:10.3f} {row['peer_ms']:10.3f} "
              f"{row['ratio']:8.2f}", *further)  # fmt: skip


_COLUMNS = ("case", "peer", "coset_ms", "peer_ms", "ratio")


def say(*words: object) -> None:
    """A word about what goes on, beside the results."""
    print(*words, file=sys.stderr, flush=True)


@contextmanager
def child(words: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """A process that answers words, one line of JSON each, until it is left."""
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
        process.communicate()
    finally:
        process.kill()


def ask(process: subprocess.Popen[str], word: str) -> dict[str, Any]:
    """The answer of a child to one word."""
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        process.stdin.write(word + "\n")
        process.stdin.flush()
        answer: dict[str, Any] = json.loads(process.stdout.readline())
    except (BrokenPipeError, ValueError):
        sys.exit(f"a process that takes part ended early, with code {process.wait()}: its error is above")
    return answer


def draw_ids(law: str, num_embeddings: int, count: int, draw: np.random.Generator) -> np.ndarray:
    """`count` ids in order of popularity, int64.

    Args:
        law: `"uniform"`; or `"skewed"`, Zipf's law with exponent 1: the id of rank k with a share of log(1 + 1 / k),
            about 1 / k.
    """
    if law == "uniform":
        return draw.integers(0, num_embeddings, count)
    ranks = np.exp(draw.random(count) * np.log(num_embeddings + 1.0))
    return np.minimum(ranks.astype(np.int64), num_embeddings) - 1


def host(threads: int, *packages: str) -> dict[str, Any]:
    """Where it ran, without the machine's name, and with what."""
    versions = {"python": platform.python_version()}
    for package in packages:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    return {"cpu": _cpu(), "machine": platform.machine(), "system": platform.system(), "cores": cores(),
            "threads": threads, "l3_mib": l3_bytes() >> 20, **versions}  # fmt: skip


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def l3_bytes() -> int:
    """Size of the last cache."""
    try:
        text = Path("/sys/devices/system/cpu/cpu0/cache/index3/size").read_text(encoding="ascii")
    except OSError:
        return DEFAULT_L3
    found = re.match(r"(\d+)([KMG]?)", text)
    return int(found[1]) << {"": 0, "K": 10, "M": 20, "G": 30}[found[2]] if found else DEFAULT_L3


def resident_bytes() -> int:
    """Memory of this process that is in RAM now; the most there was, where the system does not tell."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return pages * os.sysconf("SC_PAGE_SIZE")


def available_bytes() -> int:
    """Memory that is free for one more process; no limit, where the system does not tell."""
    try:
        found = re.search(r"MemAvailable:\s*(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
    except OSError:
        found = None
    return int(found[1]) << 10 if found else 1 << 62


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()
