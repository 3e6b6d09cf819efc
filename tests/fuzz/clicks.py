"""Click logs and their schemas: a log written in every way that is read must be prepared to the numbers and categories
that were written; a log or a schema with a few bytes changed is prepared, to the same bytes in whatever pieces it is
read, or refused in one sentence."""

from __future__ import annotations

import json
import math
from collections import Counter
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any
from unittest import mock

import logs
import mutate
import numpy as np
import writing
from judge import Ended, Fault, command, digests

from coset.data.clicks import ClickData, frames
from coset.data.clicks.described import offsets_path

OTHER = "what has no id of its own"


class ClickLogs:
    """Logs made from rows that are drawn, too."""

    def try_input(self, draw: Random, scratch: Path) -> str:
        """One log in two is left as it is written."""
        if draw.random() < 0.2:
            log, schema, data, ending = logs.untold(draw)
        else:
            log = logs.drawn(draw)
            data, ending, schema = logs.written(draw, log)
        if draw.random() < 0.5:
            return self._good(draw, scratch, log, schema, data, ending)
        return self._changed(draw, scratch, schema, data, ending)

    def _good(
        self, draw: Random, scratch: Path, log: logs.Log, schema: dict[str, Any] | None, data: bytes, ending: str
    ) -> str:
        rows, often, split = len(log), draw.choice((1, 1, 2)), draw.choice(("ordered", "ordered", "time"))
        if schema is None or "time" not in schema:
            split = "ordered"
        data, packing = (data, "") if ending == ".parquet" else writing.packed(draw, data)
        path = scratch / f"log{ending}{packing}"
        if schema is not None and ending != ".inter" and draw.random() < 0.1:
            path = scratch / "region=a%20b" / path.name
            path.parent.mkdir()
            log.categories["region"] = ["a b"] * rows
            schema["categorical"].append("region")
        path.write_bytes(data)
        share = draw.choice((0.2, 0.25, 0.5))
        latest = round(share * rows)
        if split == "time":
            validates = [rank >= sorted(log.ranks)[-latest] for rank in log.ranks]
        else:
            validates = [row >= rows - latest for row in range(rows)]
        words = _words(scratch, schema)
        ended = command("prepare", path, scratch / "out", *words, "--split", split, "--validation", share,
                        "--min-frequency", often)  # fmt: skip
        if ended.code and all(validates) and "no training rows" in ended.err:
            return "refused"
        if ended.code:
            raise Fault(f"a good log is refused: {ended.err}\n{path.name}, {words}: {data[:400]!r}")
        try:
            _check(log, validates, often, ClickData.open(scratch / "out"))
        except Fault as fault:
            raise Fault(f"{fault}\n{path.name}, {schema}: {data[:400]!r}") from None
        return "taken"

    def _changed(self, draw: Random, scratch: Path, schema: dict[str, Any] | None, data: bytes, ending: str) -> str:
        words = _words(scratch, schema)
        lines = None
        if schema is not None and draw.random() < 0.3:
            Path(words[1]).write_bytes(mutate.text(draw, Path(words[1]).read_bytes()))
        else:
            data = mutate.text(draw, data)
            header = ending == ".inter" if schema is None else "names" not in schema
            lines = _lines(data, ending, int(header))
        data, packing = writing.packed(draw, data)
        if packing and draw.random() < 0.2:
            data = draw.choice((mutate.text, mutate.bit))(draw, data)
        path = scratch / f"log{ending}{packing}"
        path.write_bytes(data)
        words += ["--split", draw.choice(("random", "ordered", "time")), "--validation", draw.choice((0.2, 0.5))]
        words += draw.choice((
            [], [], ["--skip-bad", draw.choice((1, 100))], ["--hash", draw.choice((7, "user=3", 0))], ["--no-log"],
            ["--unseen", "error"], ["--max-size", draw.choice((1, 0))], ["--missing", draw.choice(("7", "", "NA"))],
            [draw.choice(("--seed", "--threads", "--validation")), draw.choice((0, 1, 2, -1, 2**70))],
        ))  # fmt: skip
        size = draw.choice((40, 150, 1000))
        with mock.patch("coset.data.sources.text.CHUNK", size), mock.patch.object(frames, "ROWS", size // 20):
            ended = self._prepared(path, scratch / "out", words)
        if ended.code:
            self._further(path, scratch, words)
            return "refused"
        told = ended.json
        if lines is not None and told["rows"] + told["skipped"] != lines:
            raise Fault(
                f"{lines} lines are {told['rows']} rows and {told['skipped']} that were skipped: {data[:400]!r}"
            )
        looked = command("inspect", scratch / "out", "--json")  # what was prepared can be read
        if looked.code:
            raise Fault(f"what was prepared is refused: {looked.err}")
        again = self._prepared(path, scratch / "again", [*words, "--threads", 1])
        _same(scratch / "out", scratch / "again", f"read in small pieces ({again.err})")
        return "taken"

    def _prepared(self, path: Path, out: Path, words: list[Any], *more: object) -> Ended:
        before = path.read_bytes()
        ended = command("prepare", path, out, *words, "--json", *more)
        if path.read_bytes() != before:
            raise Fault(f"{path.name} is changed")
        if (ended.code == 0) != (out / "prepared.json").exists():
            raise Fault(f"exit code {ended.code}, and {sorted(digests(out))} is there: {ended.err}")
        return ended

    def _further(self, path: Path, scratch: Path, words: list[Any]) -> None:
        """What was read before a bad row is gone on with: to the same bytes as in one go."""
        if "--skip-bad" in words or not (scratch / "out" / "work").exists():
            return
        further = self._prepared(path, scratch / "out", words, "--skip-bad", 100, "--resume")
        at_once = self._prepared(path, scratch / "again", words, "--skip-bad", 100)
        if further.code != at_once.code:
            raise Fault(f"resumed: {further.err or 'prepared'}; at once: {at_once.err or 'prepared'}")
        if not further.code:
            _same(scratch / "out", scratch / "again", "resumed")


def _same(one: Path, other: Path, how: str) -> None:
    if differ := sorted(name for name, _ in digests(one).items() ^ digests(other).items()):
        raise Fault(f"{differ} are others, {how}")


def _words(scratch: Path, schema: dict[str, Any] | None) -> list[Any]:
    """The option that says the schema, which is written."""
    if schema is None:
        return []
    told = "".join(f"{key} = {_toml(value)}\n" for key, value in schema.items())
    (scratch / "mine.toml").write_text(told, encoding="utf-8")
    return ["--schema", str(scratch / "mine.toml")]


def _toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key} = {_toml(of)}" for key, of in value.items()) + "}"
    return json.dumps(value, ensure_ascii=False)


def _lines(data: bytes, ending: str, named: int) -> int | None:
    """How many rows a text has, where no quotes, comments or encoding make that hard to tell."""
    if ending == ".parquet" or any(mark in data for mark in (b'"', b"#", b"\0", b"\xef", b"\xff")):
        return None
    lines = data.replace(b"\r", b"" if b"\n" in data else b"\n").split(b"\n")
    filled = [line for line in lines if line]
    return len(filled) - named if all(line.strip(b" \t") for line in filled) else None


def _check(log: logs.Log, validates: list[bool], often: int, data: ClickData) -> None:
    """Raise a `Fault` unless prepared columns say what the log says."""
    for part, wanted in (("training", False), ("validation", True)):
        rows = [row for row in range(len(log)) if validates[row] == wanted]
        found = data.part(part)
        _equal(f"{part} labels", found.column("label").tolist(), [log.labels[row] for row in rows])
        for name, values in log.numbers.items():
            training = [_log(value) for value, later in zip(values, validates, strict=True) if not later]
            filled = [value for value in training if value is not None]
            mean = float(np.mean(filled)) if filled else 0.0
            deviation = (float(np.std(filled)) if filled else 0.0) or 1.0
            if deviation < 1e-6:  # of values that are all but equal, rounding is all of it
                deviation = 1.0
            here = [_log(values[row]) for row in rows]
            expected = [0.0 if value is None else (value - mean) / deviation for value in here]
            if not np.allclose(found.column(name), expected, rtol=1e-4, atol=1e-4):
                raise Fault(f"{part} {name}: {values} are read as {found.column(name).tolist()}, not {expected}")
            if (None in training) != (f"{name}:missing" in data.numeric):
                raise Fault(f"{name}: {values}, and numeric columns are {data.numeric}")
            if None in training:
                absent = [float(value is None) for value in here]
                _equal(f"{part} {name}:missing", found.column(f"{name}:missing").tolist(), absent)
        for name, texts in log.categories.items():
            ids, known = (
                found.column(name).tolist(),
                _known(log, [[text] for text in texts], validates, often, name, data),
            )
            _equal(f"{part} {name}", [known[0][id_] for id_ in ids], [_own(texts[row], known[1]) for row in rows])
        for name, lists in log.lists.items():
            names, kept = _known(log, lists, validates, often, name, data)
            ends = np.load(offsets_path(data.folder, part, name)).tolist()
            ids = found.column(name).tolist()
            items = [[names[id_] for id_ in ids[start:stop]] for start, stop in pairwise(ends)]
            _equal(f"{part} {name}", items, [[_own(text, kept) for text in lists[row]] for row in rows])


def _known(
    log: logs.Log, lists: list[list[str]], validates: list[bool], often: int, name: str, data: ClickData
) -> tuple[list[str], set[str]]:
    """What the ids of a feature stand for, by its vocabulary, and which categories should have one."""
    counts = Counter(text for of, later in zip(lists, validates, strict=True) if not later for text in of)
    vocabulary = data.vocabulary(name)
    names = vocabulary.texts()
    if vocabulary.missing is not None:
        names.insert(vocabulary.missing, "")
    kept = {text for text, count in counts.items() if count >= often or text == ""}
    _equal(f"categories of {name}", sorted(names), sorted(kept))
    frequencies = next(feature.frequencies for feature in data.features if feature.name == name)
    assert frequencies is not None
    others = sum(counts.values()) - sum(counts[text] for text in kept)
    _equal(f"frequencies of {name}", frequencies.tolist(), [counts[text] for text in names] + [others])
    if sorted(frequencies.tolist()[:-1], reverse=True) != frequencies.tolist()[:-1]:
        raise Fault(f"ids of {name} are not in order of their frequencies: {frequencies.tolist()}")
    return [*names, OTHER], kept


def _own(text: str, kept: set[str]) -> str:
    return text if text in kept else OTHER


def _log(value: float | None) -> float | None:
    return None if value is None else math.copysign(math.log1p(abs(value)), value)


def _equal(what: str, found: list[Any], expected: list[Any]) -> None:
    if found != expected:
        raise Fault(f"{what} are {found}, not {expected}")


def group(folder: Path) -> ClickLogs:
    """The group of this file, once the kernels are compiled."""
    with suppress(Fault):
        ClickLogs().try_input(Random(0), folder)
    return ClickLogs()
