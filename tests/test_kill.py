"""Killed at any moment, a training or a comparison is resumed to the bits of an uninterrupted one."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from coset.kernels import compile

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")

Coset = Callable[..., Any]
Start = Callable[..., Any]
KILLS = int(os.environ.get("COSET_KILLS", 2))
CLOCK = {"seconds", "seconds_per_epoch", "run", "host", "peak_resident_bytes"}

TRAIN = ("train", "small.csv", "--epochs", 12, "--set", "training.batch_size=64", "--method", "hashing",
         "--budget", "60%", "--checkpoint-every", 7, "--json")  # fmt: skip
COMPARE = ("compare", "small.csv", "--methods", "quotient_remainder", "--budgets", "60%", "--dim", 4, "--row", "full",
           "--row", "planned", "--row", "quotient_remainder", "--epochs", 3, "--seeds", 2,
           "--set", "training.batch_size=64", "--json")  # fmt: skip
CLICKS = ("train", "prepared", "--model", "dlrm", "--dim", 4, "--set", "model.bottom=[8]", "--set", "model.top=[8]",
          "--method", "quotient_remainder", "--collisions", 4, "--set", "training.batch_size=16", "--epochs", 2,
          "--set", "training.patience=20", "--set", "training.optimizer=adam",
          "--set", "training.learning_rate=0.001", "--checkpoint-every", 13, "--json")  # fmt: skip
FIRST = (*TRAIN[:2], "--epochs", 2, *TRAIN[4:], "--out", "first")
FURTHER = ("train", "first", "--continue", "--epochs", 12, "--json")


def bare(value: Any) -> Any:
    """`value` without what a clock or a folder's name says."""
    if isinstance(value, dict):
        return {key: bare(of) for key, of in value.items() if key not in CLOCK}
    return [bare(of) for of in value] if isinstance(value, list) else value


def check_whole(folder: Path) -> None:
    """No file that a reader may open is a part of one."""
    for path in folder.rglob("*.json"):
        json.loads(path.read_text())
    for path in folder.rglob("*.safetensors"):
        load_file(path)


def begun(start: Start, out: Path, words: tuple[object, ...]) -> Any:
    """The command, once it has begun to write."""
    lock = out / ".coset-lock"
    before = lock.stat().st_mtime_ns if lock.exists() else 0  # taking a lock opens its file anew
    process = start(*words, "--out", out, "--resume")
    deadline = time.monotonic() + 60
    while process.at_work() and time.monotonic() < deadline:
        if lock.exists() and lock.stat().st_mtime_ns != before:
            break
        time.sleep(0.002)
    return process


def uninterrupted(run: Callable[[str], Any], again: Callable[[], Any]) -> tuple[Any, float]:
    """What `run` of a folder gives, and how many seconds it takes. Where kernels were compiled meanwhile, it tells
    nothing of the time, and `again` begins a process that does the same once more."""
    before, started = kernels(), time.monotonic()
    found = run("whole")
    lasted = time.monotonic() - started
    if kernels() != before:
        process, started = again(), time.monotonic()
        while process.at_work():
            assert time.monotonic() - started < 280
            time.sleep(0.01)
        lasted = time.monotonic() - started
    return found, lasted


def kernels() -> set[Path]:
    """The files of compiled kernels."""
    return set(Path(compile._FOLDER).rglob("*.nb?"))


@pytest.mark.parametrize("words", [TRAIN, COMPARE, CLICKS, FURTHER], ids=["train", "compare", "clicks", "further"])
def test_killed_at_any_moment_and_resumed(
    words: tuple[object, ...], coset: Coset, start: Start, small_csv: Path, clicks: Any
) -> None:
    Path("small.csv").write_bytes(small_csv.read_bytes())
    shutil.copytree(clicks.folder, "prepared")
    if words is FURTHER:
        assert coset(*FIRST).code == 0
    first = {path.name: path.read_bytes() for path in Path().glob("first/*")}
    whole, lasted = uninterrupted(lambda out: coset(*words, "--out", out), lambda: begun(start, Path("timed"), words))
    assert whole.code == 0, whole.err
    draw, out, alive = random.Random(0), Path("killed"), 0
    for part in range(KILLS):  # each resumes what the last one left
        delay = lasted * (part + draw.random()) / KILLS / 2
        process = begun(start, out, words)
        time.sleep(delay)
        alive += process.kill()
        check_whole(out)
    print(f"{alive} of {KILLS} kills met a process at work; uninterrupted, it took {lasted:.1f} s")
    assert alive > 0
    resumed = coset(*words, "--out", out, "--resume")
    assert resumed.code == 0, resumed.err
    assert bare(resumed.json) == bare(whole.json)
    check_whole(out)
    assert not list(out.rglob("*-part")) + list(out.rglob(".*-part"))
    assert {path.name: path.read_bytes() for path in Path().glob("first/*")} == first  # a run that is trained on stays
    models = sorted(path.relative_to("whole") for path in Path("whole").rglob("model.safetensors"))
    assert models
    for path in models:
        left, right = load_file("whole" / path), load_file(out / path)
        assert left.keys() == right.keys()
        assert all(torch.equal(left[name], right[name]) for name in left), path


def test_killed_while_preparing_or_training(coset: Coset, start: Start, small_csv: Path) -> None:
    """From a log to a model in one command, killed at moments drawn from all of its time, preparation included."""
    lines = small_csv.read_text().splitlines()[1:]
    rows = [line.split(",") for line in lines] * 4
    log = "label,user,movie,time\n" + "".join(
        f"{rating > '3':d},u{user},m{movie},{at}\n" for at, (user, movie, rating) in enumerate(rows)
    )
    Path("log.csv").write_text(log)
    Path("log.toml").write_text('label = "label"\nnumeric = ["time"]\ncategorical = ["user", "movie"]\n')
    words = ("train", "log.csv", "--schema", "log.toml", "--dim", 4, "--set", "model.bottom=[8]", "--set",
             "model.top=[8]", "--set", "training.batch_size=256", "--checkpoint-every", 20, "--json")  # fmt: skip
    found, lasted = uninterrupted(
        lambda out: coset(*words, "--out", f"{out}/run"), lambda: start(*words, "--resume", "--out", "timed/run")
    )
    assert found.code == 0, found.err
    whole = found.json
    draw, alive = random.Random(1), 0
    for part in range(KILLS):
        process = start(*words, "--resume", "--out", "killed/run")
        time.sleep(lasted * (0.2 + 0.8 * (part + draw.random()) / KILLS))  # before, it imports the rest
        alive += process.kill()
        if Path("killed/run").exists():
            check_whole(Path("killed/run"))
    print(f"{alive} of {KILLS} kills met a process at work; uninterrupted, it took {lasted:.1f} s")
    assert alive > 0
    resumed = coset(*words, "--resume", "--out", "killed/run")
    assert resumed.code == 0, resumed.err
    without = {"prepared"}
    assert {k: v for k, v in bare(resumed.json).items() if k not in without} == {
        k: v for k, v in bare(whole).items() if k not in without
    }
    left, right = (load_file(f"{folder}/run/model.safetensors") for folder in ("whole", "killed"))
    assert all(torch.equal(left[name], right[name]) for name in left)


def test_two_at_once_in_one_folder_do_not_meet(coset: Coset, start: Start, small_csv: Path) -> None:
    """The second is refused while the first is at work; the first is none the worse."""
    Path("small.csv").write_bytes(small_csv.read_bytes())
    words = (*TRAIN[:3], 400, *TRAIN[4:], "--out", "out")
    first = start(*words)
    try:
        deadline = time.monotonic() + 60
        while not any(Path("out/checkpoints").glob("*")) and first.at_work() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert first.at_work()
        second = coset(*words, "--resume")
        assert second.code == 2
        assert "another process" in second.err
    finally:
        first.kill()
    check_whole(Path("out"))
