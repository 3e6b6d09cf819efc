"""Folders of runs, finished or not, and of prepared clicks: one with a damaged or foreign file gives the figures that
it gave, or is refused in one sentence that names it, and what is only read stays as it is."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import mutate
import numpy as np
from judge import Ended, Fault, command, digests

from coset.data.clicks import ClickWriter, Feature
from coset.errors import InputError

CLOCK = {"seconds", "seconds_per_epoch", "run", "host", "peak_resident_bytes", "prepared", "words", "from"}
TRAIN = ("--row", "full", "--engine", "plain", "--no-tune", "--json", "--resume")
CLICKS = ("--model", "dlrm", "--dim", 4, "--set", "model.bottom=[4]", "--set", "model.top=[4]",
          "--set", "training.optimizer=sgd", "--set", "training.batch_size=30", "--epochs", 1)  # fmt: skip


class Folders:
    """What people do with a folder, on copies of a few that are made once; each beside another of the same kind."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        draw = np.random.default_rng(0)
        rows = zip(draw.integers(0, 60, 400), draw.integers(0, 20, 400), draw.integers(1, 6, 400), strict=True)
        self.ratings = folder / "ratings.csv"
        self.ratings.write_text("user,item,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows))
        self.made: dict[tuple[str, int], dict[str, str]] = {}
        evaluate, compress, further = self._evaluate, self._compress, self._further
        self.ways: list[tuple[str, Callable[[Path], Ended], bool]] = [
            *[("run", evaluate, True)] * 4,
            *[("run", lambda run: command(*self._train(run, 0)), False)] * 3,
            *[("begun", lambda run: command(*self._train(run, 0, epochs=2)), False)] * 3,
            *[("run", self._predict, True)] * 2,
            ("run", compress, True),
            ("run", further, True),
            *[("trained", evaluate, True)] * 3,
            ("trained", lambda run: command(*self._train_clicks(self._made("clicks", 0), run)), False),
            *[("clicks", lambda clicks: command("inspect", clicks, "--json"), True)] * 3,
            *[("clicks", lambda clicks: evaluate(self._made("trained", 0), "--data", clicks), True)] * 2,
            ("clicks", lambda clicks: command(*self._train_clicks(clicks, clicks.parent / "new")), True),
        ]
        self.figures: dict[int, Any] = {}

    def try_input(self, draw: Random, scratch: Path) -> str:
        """Damage one or two files of a folder and use it."""
        chosen = draw.randrange(len(self.ways))
        kind, use, reads = self.ways[chosen]
        good, other = self._made(kind, 0), self._made(kind, 1)
        if chosen not in self.figures:
            (scratch / "good").mkdir()
            self.figures[chosen] = _figures(_good(use(shutil.copytree(good, scratch / "good" / kind))))
        copy = shutil.copytree(good, scratch / kind)
        done = [damage(draw, copy, other) for _ in range(draw.choice((1, 1, 1, 2)))]
        before = digests(copy)
        ended = use(copy)
        where = f"{kind} with {', '.join(done)}"
        if ended.code and str(scratch) not in ended.err:
            raise Fault(f"{where}: the error names no file: {ended.err}")
        if not ended.code and (found := _figures(ended)) != self.figures[chosen]:
            raise Fault(f"{where}: {found} instead of {self.figures[chosen]}")
        if (reads or ended.code) and (lost := _lost(before, digests(copy), self.made[kind, 0])):
            raise Fault(f"{where}: {lost} is gone or another, after {ended.err or 'success'}")
        if "link" in where and (lost := _lost(self.made[kind, 1], digests(other), {})):
            raise Fault(
                f"{where}: {lost}, which is another folder's, is gone or another, after {ended.err or 'success'}"
            )
        return "refused" if ended.code else "taken"

    def _made(self, kind: str, seed: int) -> Path:
        """The folder of a kind, which is made when it is first asked for."""
        folder = self.folder / f"{kind}{seed}"
        if (kind, seed) in self.made:
            return folder
        if kind == "clicks":
            _clicks(folder, seed)
        elif kind == "run":
            _good(command(*self._train(folder, seed)))
        elif kind == "begun":
            self._made("run", seed)  # so that no module is imported while this one is another
            with mock.patch("coset.training.run.finish", side_effect=InputError("stopped before its end")):
                command(*self._train(folder, seed, epochs=2))
        else:
            _good(command(*self._train_clicks(self._made("clicks", seed), folder)))
        self.made[kind, seed] = digests(folder)
        return folder

    def _train(self, out: Path, seed: int, epochs: int = 1) -> tuple[object, ...]:
        return ("train", self.ratings, *TRAIN, "--seed", seed, "--epochs", epochs, "--out", out)

    def _train_clicks(self, clicks: Path, out: Path) -> tuple[object, ...]:
        return ("train", clicks, *CLICKS, *TRAIN, "--out", out)

    def _evaluate(self, run: Path, *words: object) -> Ended:
        return command("evaluate", run, "--json", *words)

    def _predict(self, run: Path) -> Ended:
        out = run.parent / "predicted.csv"
        ended = command("predict", run, self.ratings, "--out", out)
        if (ended.code == 0) != out.exists():
            raise Fault(f"code {ended.code}, and predictions are {'' if out.exists() else 'not '}there: {ended.err}")
        return Ended(ended.code, json.dumps(out.read_text()) if ended.code == 0 else "", ended.err)

    def _compress(self, run: Path) -> Ended:
        return command("compress", run, "--budget", "70%", "--out", run.parent / "small", "--json")

    def _further(self, run: Path) -> Ended:
        words = ("--engine", "plain", "--epochs", 1, "--out", run.parent / "further", "--json")
        ended = command("train", run, "--continue", *words)
        if ended.code:
            return ended
        told = ended.json
        if told["continued"]["state"] != (run / "optimizer.safetensors").exists():
            raise Fault(f"the state of the optimizer: {told['continued']}")
        # Without that state, as is said, what comes after the first run is another training.
        return Ended(0, json.dumps(told | {"history": told["history"][:1], "continued": None}), ended.err)


def damage(draw: Random, folder: Path, other: Path) -> str:
    """Do something to one file in `folder`, which may be to take that of `other`; what was done, in words."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if not paths:
        return "nothing"
    path = draw.choice(paths)
    name = path.relative_to(folder)
    data = path.read_bytes()
    way = draw.randrange(12)
    if way <= 3 and path.suffix == ".json" and (told := _json(data)) is not None:
        path.write_text(json.dumps(mutate.tree(draw, told)))
        return f"a changed tree in {name}"
    if way <= 3 and path.suffix == ".safetensors" and len(data) > 8:
        path.write_bytes(_other_header(draw, data))
        return f"a changed header of {name}"
    if way <= 5:
        path.write_bytes(mutate.text(draw, data))
        return f"other bytes in {name}"
    if way == 6:
        path.write_bytes(data[: draw.choice((0, len(data) // 2, max(0, len(data) - 1)))])
        return f"{name} cut off"
    path.unlink()
    if way == 7:
        if (other / name).exists():
            path.write_bytes((other / name).read_bytes())
        return f"{name} of another seed"
    if way == 8:
        path.mkdir()
        return f"a folder in place of {name}"
    if way == 9:
        others = sorted(path for path in other.rglob("*") if path.is_file())
        target = draw.choice((Path("/dev/null"), path, folder / "nowhere", other / name, draw.choice(others), folder))
        path.symlink_to(target)
        return f"a link from {name} to {target}"
    if way == 10 and hasattr(os, "mkfifo"):
        os.mkfifo(path)
        return f"a pipe in place of {name}"
    return f"no {name}"


def _json(data: bytes) -> Any:
    """The tree in a file; None in one that was damaged before."""
    try:
        return json.loads(data)
    except ValueError:
        return None


def _other_header(draw: Random, data: bytes) -> bytes:
    """A file of safetensors whose header, or what coset notes in it, is another tree."""
    try:
        end = 8 + int.from_bytes(data[:8], "little")
        header = json.loads(data[8:end])
        ours = json.loads(header["__metadata__"]["coset"])
    except (ValueError, KeyError, TypeError):  # damaged before
        return data[1:]
    if draw.random() < 0.5:
        header["__metadata__"]["coset"] = json.dumps(mutate.tree(draw, ours))
    else:
        header = mutate.tree(draw, header)
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data[end:]


def _lost(before: dict[str, str], after: dict[str, str], made: dict[str, str]) -> str | None:
    """A file that is not as it was, nor as it was made before it was damaged, nor set aside."""
    kept = set(after.values())
    for name, digest in before.items():
        if after.get(name) not in (digest, made.get(name, digest)) and digest not in kept:
            return name
    return None


def _good(ended: Ended) -> Ended:
    if ended.code:
        raise Fault(f"good folders are refused: {ended.err}")
    return ended


def _figures(ended: Ended) -> Any:
    """What was printed, without what a clock or a folder's name says."""

    def bare(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: bare(of) for key, of in value.items() if key not in CLOCK}
        return [bare(of) for of in value] if isinstance(value, list) else value

    return bare(ended.json)


def _clicks(folder: Path, seed: int) -> None:
    draw = np.random.default_rng(seed)
    features = [Feature("page", 30), Feature("tags", 8, multi_hot=True)]
    with ClickWriter(folder, "small", ("price",), features, synthetic=True) as writer:
        for part, count in (("training", 60), ("validation", 30)):
            lengths = draw.integers(0, 3, count)
            lists = {"tags": (draw.integers(0, 8, lengths.sum()), lengths)}
            numbers = draw.normal(0, 1, (count, 1)).astype(np.float32)
            labels = draw.integers(0, 2, count).astype(np.float32)
            writer.append(part, labels, numbers, [draw.integers(0, 30, count)], lists)


def group(folder: Path) -> Folders:
    """The group of this file."""
    return Folders(folder)
