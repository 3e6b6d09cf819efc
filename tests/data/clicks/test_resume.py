"""Preparations that were stopped, by whatever, and gone on with: the same bytes as those of one that never stopped."""

from __future__ import annotations

import errno
import gzip
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors import SafetensorError

from coset.data.clicks import columns, journal, prepare as of_prepare, read  # isort: skip
from coset.data.clicks.prepare import prepare
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.errors import InputError

Contents = Callable[[Path], dict[str, bytes]]
KILLS = 2
SCHEMA = ClickSchema("y", ("n", "m"), ("who", "item"), ("tags",), types={"item": "hex"}, time="m")
SETTINGS = PrepareSettings("time", 0.2, hashing={"item": 50})


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log of 2,000 rows, with texts and lists, and two bad ones."""
    draw = np.random.default_rng(0)
    lines = ["y,n,m,who,item,tags"]
    for row in range(2000):
        tags = "|".join(f"t{tag}" for tag in draw.integers(0, 40, draw.integers(0, 4)))
        number = f"{draw.normal():.4f}" if draw.random() < 0.9 else ""
        who = int(np.exp(draw.random() * 7))
        lines.append(f"{row % 2},{number},{draw.integers(0, 999)},w{who},{draw.integers(0, 99):x},{tags}")
    lines[500] = lines[1500] = "bad"
    path = tmp_path / "log.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def run(log: Path, out: Path, **more: Any) -> dict[str, Any]:
    return prepare(log, out, SCHEMA, SETTINGS, skip_bad=2, **more)


@pytest.fixture
def whole(log: Path, contents: Contents) -> dict[str, bytes]:
    """What a preparation that nothing stops makes."""
    out = log.parent / "whole"
    run(log, out)
    return contents(out)


class Stop(Exception):
    """Something that no one foresees."""


@pytest.mark.parametrize("what", ["blocks", "notes", "columns"])
@pytest.mark.parametrize("after", [1, 2, 5, 8])
def test_stopped_anywhere_and_gone_on_with(
    log: Path, whole: dict[str, bytes], contents: Contents, monkeypatch: pytest.MonkeyPatch, what: str, after: int
) -> None:
    """By an error in the middle of a block, between blocks, or while columns are written."""
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 6000)
    monkeypatch.setattr(read, "COMMIT_SECONDS", 0.0)
    place, name = {
        "blocks": (journal.Grown, "append"),
        "notes": (journal.Journal, "mark"),
        "columns": (columns.ColumnWriter, "append"),
    }[what]
    original, calls = getattr(place, name), [0]

    def stopped(*arguments: Any, **named: Any) -> Any:
        calls[0] += 1
        if calls[0] > after * (6 if what == "blocks" else 1):
            raise Stop
        return original(*arguments, **named)

    out = log.parent / "out"
    with monkeypatch.context() as patched:
        patched.setattr(place, name, stopped)
        with pytest.raises(Stop):
            run(log, out)
    with pytest.raises(InputError, match="--resume"):
        run(log, out)
    run(log, out, resume=True, threads=1)
    assert contents(out) == whole
    assert run(log, out, resume=True)["rows"] == 1998  # nothing is left to do
    assert contents(out) == whole


def lines_between_quotes(data: bytes) -> bytes:
    return b"sep=,\n" + re.sub(rb",w(\d+),", rb',"w\n""\1",', data)


@pytest.mark.parametrize(
    "written",
    [
        lambda data: data,
        lines_between_quotes,
        lambda data: gzip.compress(lines_between_quotes(data)),
        lambda data: lines_between_quotes(data).decode().encode("utf-16"),
    ],
    ids=["plain", "lines between quotes", "gzip", "UTF-16"],
)
def test_interrupted_between_a_mark_and_the_next_block(
    log: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch, written: Callable[[bytes], bytes]
) -> None:
    log.write_bytes(written(log.read_bytes()))
    run(log, log.parent / "whole")
    whole = contents(log.parent / "whole")
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 6000)
    mark, calls = journal.Journal.mark, [0]

    def interrupted(self: Any, **changes: Any) -> Any:
        found = mark(self, **changes)
        calls[0] += 1
        if calls[0] == 4:
            raise KeyboardInterrupt
        return found

    out = log.parent / "out"
    with monkeypatch.context() as patched:
        patched.setattr(journal.Journal, "mark", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(log, out)
    run(log, out, resume=True)
    assert contents(out) == whole


def test_other_choices_are_refused(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = log.parent / "out"
    run(log, out)
    for schema, settings, words in (
        (SCHEMA, PrepareSettings("time", 0.3, hashing={"item": 50}), "settings validation = 0.2, but now it is 0.3"),
        (ClickSchema("y", ("n",), ("who",), time="m"), SETTINGS, r"schema numeric = \['n', 'm'\], but now"),
    ):
        with pytest.raises(InputError, match=words):
            prepare(log, out, schema, PrepareSettings("time") if schema is not SCHEMA else settings, resume=True)
    with log.open("a") as file:
        file.write("1,,1,w1,a,\n")
    with pytest.raises(InputError, match="the data differ"):
        run(log, out, resume=True)
    with pytest.raises(InputError, match="begun with name 'log', but now it is 'other'"):
        run(log, out, resume=True, name="other")


def test_other_settings_of_the_second_step_need_nothing_read_again(
    log: Path, contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, again = log.parent / "out", "; the log is read, so continue with --resume"
    rare = PrepareSettings("ordered", 0.999999, hashing={"item": 50})
    with pytest.raises(InputError, match=f"no training rows; take a smaller validation share{again}"):
        prepare(log, out, SCHEMA, rare, skip_bad=2)
    other = PrepareSettings("ordered", 0.2, hashing={"item": 50}, unseen="error")
    with pytest.raises(InputError, match=f"a category that no training row has; prepare with .*{again}"):
        prepare(log, out, SCHEMA, other, skip_bad=2, resume=True)
    for settings, words in ((SETTINGS, "begun with settings split = 'ordered'"), (PrepareSettings(), "hashing")):
        with pytest.raises(InputError, match=words):
            prepare(log, out, SCHEMA, settings, skip_bad=2, resume=True)
    with monkeypatch.context() as patched:
        patched.setattr(read.Reading, "read", None)
        right = PrepareSettings("ordered", 0.2, min_frequency=2, indicators=False, hashing={"item": 50})
        prepare(log, out, SCHEMA, right, resume=True)
    prepare(log, log.parent / "fresh", SCHEMA, right, skip_bad=2)
    assert contents(out) == contents(log.parent / "fresh")


Usage = namedtuple("Usage", "total used free")


def test_a_disk_that_is_too_small(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "disk_usage", lambda path: Usage(10**6, 10**6, 1000))
        with pytest.raises(InputError, match=r"out: about \d.*KB more are needed, and 1KB are free"):
            run(log, log.parent / "out")
    assert run(log, log.parent / "out", resume=True)["rows"] == 1998


@pytest.mark.parametrize("place", ["journal", "columns"])
@pytest.mark.parametrize("room", [10_000, 30_000])
def test_a_disk_that_is_full(
    log: Path, whole: dict[str, bytes], contents: Contents, monkeypatch: pytest.MonkeyPatch, place: str, room: int
) -> None:
    """Writes fail as the system's do; what was written before is kept, and the rest is done once there is room."""
    monkeypatch.setattr("coset.data.sources.text.CHUNK", 6000)
    of = journal.Grown if place == "journal" else columns.ColumnWriter
    append, left = of.append, [room]

    def limited(self: Any, values: Any) -> None:
        left[0] -= len(values) * (1 if isinstance(values, bytes) else self.dtype.itemsize)
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        append(self, values)

    out = log.parent / "out"
    with monkeypatch.context() as patched:
        patched.setattr(of, "append", limited)
        with pytest.raises(InputError, match=r"out: the disk is full \(No space left on device\).*--resume"):
            run(log, out)
    assert (out / "work" / "progress.json").exists()
    run(log, out, resume=True)
    assert contents(out) == whole


def test_a_disk_that_is_full_when_vocabularies_are_written(
    log: Path, whole: dict[str, bytes], contents: Contents, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise SafetensorError("I/O error: No space left on device (os error 28)")

    out = log.parent / "out"
    with monkeypatch.context() as patched:
        patched.setattr("safetensors.numpy.save_file", full)
        with pytest.raises(InputError, match=r"out: the disk is full \(No space left on device\).*--resume"):
            run(log, out)
    run(log, out, resume=True)
    assert contents(out) == whole


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_device_that_is_full(tmp_path: Path) -> None:
    grown = journal.Grown(Path("/dev/full"), np.uint8)
    with (
        Path("/dev/full").open("wb", buffering=0) as grown._file,
        pytest.raises(InputError, match="the disk is full"),
        of_prepare._no_space(tmp_path),
    ):
        grown.append(b"x")


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_killed_at_any_moment_and_resumed(log: Path, whole: dict[str, bytes], contents: Contents) -> None:
    """A process that is killed at random moments, again and again, until it comes to its end."""
    code = (
        "import sys; from coset.data.clicks import read\n"
        "from coset.data.sources import text\n"
        "from coset.data.clicks.prepare import prepare\n"
        "from coset.data.clicks.schema import ClickSchema\n"
        "from coset.data.clicks.settings import PrepareSettings\n"
        "text.CHUNK, read.COMMIT_SECONDS = 6000, 0.0\n"
        f"schema = {SCHEMA!r}\nsettings = {SETTINGS!r}\n"
        "print('ready', flush=True)\n"
        "prepare(sys.argv[1], sys.argv[2], schema, settings, resume=True, skip_bad=2)\n"
    )
    draw, out, killed = random.Random(0), log.parent / "out", 0
    for kill in range(KILLS):
        process = subprocess.Popen([sys.executable, "-c", code, log, out], stdout=subprocess.PIPE)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        time.sleep(draw.random() * (0.1 + 0.2 * kill))
        process.kill()
        process.wait(timeout=60)
        process.stdout.close()
        killed += not (out / "prepared.json").exists()
        if not killed:
            shutil.rmtree(out)  # it was faster than the kill: once more
    print(f"{killed} of {KILLS} kills met a process at work")
    assert killed > 0
    run(log, out, resume=True)
    assert contents(out) == whole
