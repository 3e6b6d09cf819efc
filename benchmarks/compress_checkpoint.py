"""`coset compress` of a checkpoint that is larger than the memory it may take.

The checkpoint is made up: 8 tables of dim 64 in float32 with axes of falling size, and a few layers, in one
`.safetensors` file, 4 GB by default. The command runs as a process of its own, once for each case: without counts, and
with counts of ids that follow Zipf's law with exponent 1 in an order of their own, where blocks by popularity want an
order. `peak_mb` is the most memory that the process had resident at once, Python and torch included, and `bound_mb`
the smaller of 1 GB and 25 % of the file. The peer is copying the file to the same disk and flushing it. `fit_s` are the
seconds that choosing and fitting took; what remains is held against three copies: `beyond_copies` is its ratio to
these. `expand` leads from the artifact back to an ordinary file.

    $ python benchmarks/compress_checkpoint.py --megabytes 800
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from measuring import Row, arguments, host, report, row, say, use_threads

TABLES, DIM = 8, 64
AT_ONCE = 1 << 16
"""Rows that are made at once."""
LAYERS = {"mlp.0.weight": (512, TABLES * DIM), "mlp.0.bias": (512,), "mlp.2.weight": (1, 512)}


class Ran(NamedTuple):
    """A process: what it printed, its seconds and the most memory that it had, in MB."""

    said: dict[str, Any]
    seconds: float
    peak_mb: float


def main() -> None:
    """Measure the cases and print a table, or JSON."""
    parser = arguments(__doc__)
    parser.add_argument("--megabytes", type=int, default=4096, help="of the checkpoint")
    parser.add_argument("--budget", default="10%", help="of the tables")
    parser.add_argument(
        "--cases", nargs="+", choices=["plain", "counts", "expand"], default=["plain", "counts", "expand"]
    )
    parser.add_argument("--folder", type=Path, help="where there is room for three times the checkpoint")
    options = parser.parse_args()
    use_threads(options.threads)
    size = options.megabytes << 20
    with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
        folder = Path(scratch)
        if shutil.disk_usage(folder).free < 3 * size:
            sys.exit(
                f"{folder}: has no room for three times {options.megabytes} MB; choose another --folder, or --megabytes"
            )
        rows = measure(folder, size, options)
        report("compress_checkpoint", host(options.threads, "coset", "torch", "safetensors"), rows, options.json)


def measure(folder: Path, size: int, options: Any) -> list[Row]:
    """The rows of all cases."""
    checkpoint, rows = folder / "model.safetensors", size // (TABLES * DIM * 4)
    made(checkpoint, rows)
    say("made:", f"{checkpoint.stat().st_size >> 20} MB")
    copy = copied(checkpoint, folder / "copy")
    bound = min(1000.0, checkpoint.stat().st_size / 4e6)
    found: list[Row] = []
    name = f"{options.megabytes} MB, {TABLES} tables, {options.budget}"
    for case in ("plain", "counts"):
        if case not in options.cases:
            continue
        words = ["compress", str(checkpoint), "--budget", options.budget, "--out", str(folder / case)]
        if case == "counts":
            counted(folder / "counts.npz", rows)
            words += ["--frequencies", str(folder / "counts.npz")]
        ran = command([*words, "--threads", str(options.threads), "--json"])
        fit = ran.said["seconds"]["plan"] + ran.said["seconds"]["fit"]
        further = {
            "peak_mb": ran.peak_mb, "bound_mb": bound, "fit_s": fit, "tables_bytes": ran.said["bytes"],
            "beyond_copies": (ran.seconds - fit) / (3 * copy),
        }  # fmt: skip
        found.append(row(f"{name}, {case}", "copy of the file", 1000 * ran.seconds, 1000 * copy) | further)
        say("done:", case, *(f"{key} {value:,.2f}" for key, value in further.items()))
    if "expand" in options.cases and (folder / "plain").is_dir():
        ran = command(["expand", str(folder / "plain"), "--out", str(folder / "back.safetensors"), "--json"])
        found.append(row(f"{name}, expand", "copy of the file", 1000 * ran.seconds, 1000 * copy)
                     | {"peak_mb": ran.peak_mb, "bound_mb": bound})  # fmt: skip
    return found


def made(path: Path, rows: int) -> None:
    """Write a checkpoint of tables of so many rows."""
    import torch

    from coset.checkpoints.tensors import TensorsFile, bytes_of, entry_of

    torch.manual_seed(0)
    sizes = {f"tables.{at}.weight": (rows, DIM) for at in range(TABLES)} | LAYERS
    scales = 0.93 ** torch.arange(DIM)
    with TensorsFile(path, [entry_of(name, torch.float32, shape) for name, shape in sizes.items()]) as file:
        for name, shape in sizes.items():
            if name in LAYERS:
                file.write(name, bytes_of(torch.randn(shape)))
                continue
            axes = torch.linalg.qr(torch.randn(DIM, DIM)).Q * scales[:, None]
            for begin in range(0, rows, AT_ONCE):
                file.write(name, bytes_of(0.1 * torch.randn(min(AT_ONCE, rows - begin), DIM) @ axes))


def counted(path: Path, rows: int) -> None:
    """Write counts of the ids of all tables."""
    draw = np.random.default_rng(0)
    counts = 100 * rows // (1 + np.arange(rows))
    np.savez(path, **{f"tables.{at}": draw.permutation(counts).astype(np.int32) for at in range(TABLES)})  # type: ignore[arg-type]


def copied(path: Path, to: Path) -> float:
    """Seconds of a copy that is on disk."""
    begin = time.perf_counter()
    shutil.copyfile(path, to)
    with to.open("rb+") as file:
        os.fsync(file.fileno())
    seconds = time.perf_counter() - begin
    to.unlink()
    return seconds


def command(words: list[str]) -> Ran:
    """Run a command of coset by itself."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as out:
        process = subprocess.Popen([sys.executable, "-m", "coset.cli", *words], stdout=out)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - begin
        if process.returncode:
            sys.exit(f"coset {words[0]} ended with code {process.returncode}: its error is above")
        out.seek(0)
        return Ran(json.load(out), seconds, used.ru_maxrss * 1024 / 1e6)


if __name__ == "__main__":
    main()
