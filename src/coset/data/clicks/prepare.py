"""`prepare`: a log of any size → a folder of columns, in memory that follows the distinct categories, not the rows.

First the log is read, once: its numbers are written to growing files, its categories as numbers in the order of their
first appearance. Then, column by column, training rows are counted, ids given by frequency, and the columns written.
Killed at any moment, either step goes on where it was, to the same bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from coset import settings as fields
from coset.data.built_in import CRITEO
from coset.data.clicks.choices import CHOICES, WORK, begun, choices_of
from coset.data.clicks.columns import ColumnFacts, FileFacts, file_name
from coset.data.clicks.described import PREPARED, LogFacts
from coset.data.clicks.finish import Facts, Finisher
from coset.data.clicks.journal import Grown, Journal
from coset.data.clicks.labels import with_labels
from coset.data.clicks.logs import log_files, schema_of
from coset.data.clicks.parts import LaterParting, NotedParting, parting
from coset.data.clicks.read import Reading
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.source import LogFile
from coset.data.clicks.store import ClickData, Feature
from coset.data.clicks.ways import BY_HAND, Ways
from coset.data.clicks.write import write_prepared
from coset.errors import InputError, brief
from coset.files import claimed, path_of, read_json, sweep
from coset.progress import Progress

SKIPPED = "skipped.jsonl"
"""The file of the rows that were left out: one JSON object a line."""

MOST_THREADS = 1024


def prepare(
    data: str | Path,
    out: str | Path,
    schema: ClickSchema | str | Path | None = None,
    settings: PrepareSettings | None = None,
    *,
    name: str | None = None,
    like: str | Path | None = None,
    missing: Sequence[str] = (),
    resume: bool = False,
    skip_bad: int = 0,
    threads: int | None = None,
    progress: Progress | None = None,
    unlabelled: bool = False,
    ways: Ways = BY_HAND,
) -> dict[str, Any]:
    """Prepare a click log for training; `ClickData.open(out)` reads what it makes.

    Args:
        data: `"criteo-kaggle"`, a file (CSV, TSV or Parquet; packed, too, with gzip, zstd, bzip2, xz or zip), or a
            folder or pattern, whose files are read in the order of the numbers in their names (see
            `coset.data.shards`).
        out: a folder, empty or missing unless `resume`.
        schema: of the log, or the name or the file of one; by default that of Criteo, for a file that looks like it.
        settings: the split, vocabularies or hashing, what becomes of numbers.
        name: of the data; by default that of the file.
        like: a folder of prepared data, for a log that is to be evaluated by what was trained on those: its schema,
            vocabularies and means are taken, and all rows validate. `settings` are left out then; what stands for a
            missing value may be something else.
        missing: more words that stand for a missing value, besides those of the schema.
        resume: go on with what the folder holds, if anything. Files, schema and settings must be the same; `skip_bad`
            and `threads` may differ, and until all is done so may the split, and what vocabularies and numbers become.
        skip_bad: how many rows with something wrong are left out, and written to `skipped.jsonl`, before the next one
            is an error.
        threads: that work at once; all cores by default, up to 4. Results do not depend on it.
        progress: shows how far it is.
        unlabelled: take files without labels, too, as if these were all 0.
        ways: what errors say can be done about them.

    Returns:
        What was made, in words of JSON: `rows`, `parts`, `features`, `numeric`, `skipped`, `seconds` and more.

    Raises:
        InputError: the data, the choices or the folder are wrong, or the disk is full. What was read until then is
            kept, and `resume` goes on from there.
    """
    begin = time.perf_counter()
    given_settings = settings not in (None, PrepareSettings())
    out = path_of(out)
    settings = fields.of_kind("settings", settings or PrepareSettings(), PrepareSettings, "PrepareSettings")
    missing = fields.checked(tuple[str, ...], missing, "missing")
    if name is not None:
        fields.of_kind("name", name, str, "text")
    skip_bad = fields.whole("skip_bad", skip_bad)
    if threads is None:
        threads = min(4, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 2)
    threads = fields.whole("threads", threads, 1, MOST_THREADS)
    files = [LogFile(shard) for shard in log_files(data)]
    before = None if like is None else ClickData.open(like)
    if before is not None:
        if given_settings or "schema" not in before.facts:
            raise InputError(
                f"{like}: prepared data say how others like them are prepared; leave settings out"
                if given_settings
                else f"{like}: not made by coset prepare, so nothing can be like it"
            )
        settings = fields.make(PrepareSettings, before.facts["settings"], "prepare")
        schema = schema or fields.make(ClickSchema, before.facts["schema"], "schema")
    schema = schema_of(schema, files)
    if missing:
        schema = replace(schema, missing=tuple(dict.fromkeys((*schema.missing, *missing))))
    # A later log may have other marks of what is missing; the rest of the schema says what columns mean.
    if before is not None and fields.plain(schema) | {"missing": None} != before.facts["schema"] | {"missing": None}:
        raise InputError(f"{like}: prepared with another schema; leave the schema out, or give the same")
    settings.check_features(schema.features)
    if settings.split == "time" and schema.time is None:
        raise InputError('a split by time needs a column of times: name it in the schema, as time = "…"')
    name = name or (str(data) if str(data) == CRITEO else Path(data).name.partition(".")[0])
    if unlabelled:
        files = [with_labels(file, schema) for file in files]
    of_files = [file.fingerprint(schema.columns) for file in files]
    choices = choices_of(name, schema, settings, of_files, None if before is None else before.fingerprint["digest"])
    with _no_space(out, ways), claimed(out, CHOICES, resume):
        begun(out, choices)
        if not (out / PREPARED).exists():
            sweep(out)
            if settings.split != "time" or before is not None:
                schema = replace(schema, time=None)  # which need not be there, nor be times
            job = _Job(out, schema, settings, before, threads, progress, ways)
            job.run(files, choices, skip_bad)
        shutil.rmtree(out / WORK, ignore_errors=True)
    return summary(ClickData.open(out)) | {"seconds": round(time.perf_counter() - begin, 3)}


@dataclass
class _Job:
    """What the two steps share."""

    out: Path
    schema: ClickSchema
    settings: PrepareSettings
    like: ClickData | None
    threads: int
    progress: Progress | None
    ways: Ways

    def run(self, files: list[LogFile], choices: dict[str, Any], skip_bad: int) -> None:
        """Read what is not read, and finish what is not finished."""
        journal = Journal(self.out / WORK)
        reading = Reading(journal, self.schema, self.settings, self.ways)
        if self.progress is not None:
            size = sum(file.size for file in files) >> 20
            self.progress.begin(size + 1 + len(self.schema.numeric) + len(self.schema.features))
        with ThreadPoolExecutor(self.threads) as pool:
            if not journal.note.whole:
                try:
                    reading.read(files, pool, self.threads, skip_bad, self.progress)
                except InputError:
                    if not journal.note.rows:  # nothing to go on with, so the folder is free for another attempt
                        shutil.rmtree(self.out / WORK)
                        (self.out / SKIPPED).unlink()
                        (self.out / CHOICES).unlink()
                    raise
            reading.forget()
            facts = self._finish(journal, reading, pool)
        self._describe(choices, journal, facts, [file.name for file in files])

    def _finish(self, journal: Journal, reading: Reading, pool: ThreadPoolExecutor) -> dict[str, Facts]:
        """Write all columns, some at once."""
        rows = journal.note.rows
        times = None if reading.times is None else partial(_times, *reading.times)
        how = parting(self.settings, rows, times) if self.like is None else LaterParting()
        noted = NotedParting.note(how, rows, Grown(journal.folder / "validates", np.uint8))
        finisher = Finisher(self.out, self.schema, self.settings, noted, rows, self.like, self.ways.again)
        jobs: dict[str, Callable[[], Facts]] = {self.schema.label: partial(finisher.labels, reading.labels)}
        for name, values in reading.numeric.items():
            jobs[name] = partial(finisher.numeric, name, values)
        for name, numbering in reading.features.items():
            jobs[name] = partial(finisher.feature, name, numbering)
        # The label first, alone: a part without rows is found before anything else is written.
        first = self._done(journal, self.schema.label, jobs.pop(self.schema.label))
        if not first["parts"]["training"] and self.like is None:
            raise InputError(f"{self.out}: {self._no_training_rows(reading)}{self.ways.again}")
        waiting = {name: pool.submit(self._done, journal, name, job) for name, job in jobs.items()}
        found = {self.schema.label: first}
        try:
            for name, job in waiting.items():
                found[name] = job.result()
                if self.progress is not None:
                    self.progress.advance(1, "writing columns")
        except BaseException:
            for job in waiting.values():
                job.cancel()
            raise
        return found

    def _no_training_rows(self, reading: Reading) -> str:
        """What is wrong with the split, and a better one."""
        if self.settings.split != "time" or reading.times is None:
            return "the split leaves no training rows; take a smaller validation share"
        if all(values.is_constant() for values in reading.times):
            return "all rows are of one time, so a split by time leaves none to train on; split ordered or at random"
        return (
            "the split leaves no training rows, since those of one time are never parted; take a smaller validation "
            "share, or split ordered"
        )

    def _done(self, journal: Journal, name: str, job: Callable[[], Facts]) -> Facts:
        """What a column's work leaves, at once where it was done before.

        The note is not flushed: after a power cut it may be gone or damaged, or the columns, and then they are made
        again."""
        note = journal.folder / f"{file_name(name)}.done.json"
        with suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
            found: Facts = read_json(note)
            files = {**_files(found, "columns", ColumnFacts), **_files(found, "vocabularies", FileFacts)}
            if all((self.out / path).stat().st_size == facts.bytes for path, facts in files.items()):
                return found
        found = job()
        aside = note.with_suffix(".aside")
        aside.write_text(json.dumps(found), encoding="utf-8")
        aside.replace(note)
        return found

    def _describe(self, choices: dict[str, Any], journal: Journal, found: dict[str, Facts], files: list[str]) -> None:
        columns, vocabularies = (
            {self.out / path: of for each in found.values() for path, of in _files(each, what, kind).items()}
            for what, kind in (("columns", ColumnFacts), ("vocabularies", FileFacts))
        )
        numeric = [name for each in self.schema.numeric for name in found[each]["numeric"]["names"][:1]]
        numeric += [name for each in self.schema.numeric for name in found[each]["numeric"]["names"][1:]]
        of_label = found[self.schema.label]
        if (self.out / SKIPPED).exists() and not journal.note.skipped:
            (self.out / SKIPPED).unlink()
        write_prepared(
            self.out,
            name=choices["name"],
            synthetic=False,
            numeric=numeric,
            features=[
                Feature(name, found[name]["feature"]["num_embeddings"], found[name]["feature"]["multi_hot"])
                for name in self.schema.features
            ],
            parts=of_label["parts"],
            columns=columns,
            vocabularies=vocabularies,
            log=[LogFacts(file, rows) for file, rows in zip(files, journal.note.rows_by_file, strict=True)],
            facts={
                "schema": choices["schema"],
                "settings": choices["settings"],
                "skipped": journal.note.skipped,
                "like": choices["like"],
                "content": _together(found[name]["content"] for name in sorted(found)),
                "click_rate": of_label["click_rate"],
                "numeric": {
                    name: {key: of for key, of in found[name]["numeric"].items() if key != "names"}
                    for name in self.schema.numeric
                },
                "features": {
                    name: {key: of for key, of in found[name]["feature"].items() if key not in ("name", "multi_hot")}
                    for name in self.schema.features
                },
            },
        )


def _times(units: Grown, steps: Grown, start: int, stop: int) -> tuple[np.ndarray, np.ndarray]:
    return units.read(start, stop), steps.read(start, stop)


def _together(digests: Iterable[str]) -> str:
    """A digest of digests."""
    return hashlib.sha256(" ".join(digests).encode()).hexdigest()


def _files(found: Facts, what: str, kind: type[Any]) -> dict[str, Any]:
    """The files of one sort that a column's work left, by path."""
    return {path: fields.make(kind, of, path) for path, of in found.get(what, {}).items()}


def summary(data: ClickData) -> dict[str, Any]:
    """What a prepared folder holds, in words of JSON."""
    facts = data.facts
    return {
        "data": data.name,
        "out": str(data.folder),
        "files": list(data.log),
        "rows": sum(data.parts.values()),
        "parts": data.parts,
        "click_rate": facts["click_rate"],
        "skipped": facts["skipped"],
        "numeric": list(data.numeric),
        "features": [{"name": name, **of} for name, of in facts["features"].items()],
        "ids": sum(feature.num_embeddings for feature in data.features),
        "bytes": sum(path.stat().st_size for path in data.folder.rglob("*") if path.is_file()),
        "fingerprint": data.fingerprint["digest"],
        "hints": _hints(data),
    }


def _hints(data: ClickData) -> list[str]:
    """What is odd about data, and may be a mistake in a schema."""
    facts = data.facts
    found: list[str] = []
    if facts["like"] is not None:  # they have the schema of those, which were told of
        return found
    if facts["click_rate"] in (0, 1):
        found.append(
            f"every label of the training part is {facts['click_rate']:g}, so there is nothing to learn; check which "
            f"column the schema calls the label ({brief(facts['schema']['label'])}), and the split"
        )
    for name, of in facts["features"].items():
        if separator := of.get("lists_with"):
            found.append(
                f"most rows of {brief(name)} hold texts with {separator!r} in them, made of fewer items, and each is "
                f"one category: if these are lists, name the column in lists, with list_separator = {separator!r}"
            )
    return found


@contextmanager
def _no_space(out: Path, ways: Ways = BY_HAND) -> Iterator[None]:
    """Say of a full disk what can be done about it."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise InputError(f"{out}: the disk is full ({error.strerror}); {ways.no_room}") from None
