"""The first step of `prepare`: a log is read, once, into the growing files of a journal."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np

from coset.data.clicks.block import BadRow, Block, Manner
from coset.data.clicks.columns import file_name
from coset.data.clicks.forms import form_of
from coset.data.clicks.frames import frame_blocks
from coset.data.clicks.journal import Journal, Note
from coset.data.clicks.numbering import Distinct, Hashed
from coset.data.clicks.schema import ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.source import LogFile
from coset.data.clicks.sparse import sparse_blocks
from coset.data.clicks.stream import ahead
from coset.data.clicks.text import Layout, text_blocks
from coset.data.clicks.ways import BY_HAND, Ways
from coset.errors import InputError
from coset.partitions import MultiplyShift
from coset.sizes import format_size

COMMIT_SECONDS = 5.0
"""How much work a killed process may lose."""
_AHEAD = 2


class Reading:
    """The growing files that a log is read into, and how its categories are numbered.

    Attributes:
        labels: 0 or 1.
        numeric: by name, float32, transformed, NaN where missing.
        features: by name.
        times: what a split by time goes by, if that is wanted: whole units, and the rest in steps.
    """

    def __init__(self, journal: Journal, schema: ClickSchema, settings: PrepareSettings, ways: Ways = BY_HAND) -> None:
        self._journal = journal
        self._ways = ways
        self._schema = schema
        self._settings = settings
        self.labels = journal.file("labels", np.uint8)
        self.numeric = {name: journal.file(f"{file_name(name)}.numeric", np.float32) for name in schema.numeric}
        timed = schema.time is not None
        self.times = (journal.file("times", np.int64), journal.file("time-steps", np.int64)) if timed else None
        self.features: dict[str, Distinct | Hashed] = {}
        for name in schema.features:
            buckets, lists = settings.buckets(name), name in schema.lists
            if buckets is None:
                self.features[name] = Distinct(journal, name, schema.type_of(name) == "text", lists)
            else:
                self.features[name] = Hashed(journal, name, lists, MultiplyShift(buckets, settings.hash_seed))
        self._skipped = journal.file("../skipped.jsonl", np.uint8)

    def forget(self) -> None:
        """Give memory back that is needed for reading only."""
        for feature in self.features.values():
            feature.forget()

    def read(self, files: list[LogFile], pool: ThreadPoolExecutor, threads: int, skip_bad: int, progress: Any) -> None:
        """Read what the journal has not, to the end of the last file.

        Raises:
            InputError: more than `skip_bad` rows are bad, a file is not what it should be, or the disk too small. All
                before is kept in the journal.
        """
        journal = self._journal
        with journal:
            for feature in self.features.values():
                feature.restore()
            note = journal.note
            try:
                for number in range(note.file, len(files)):
                    note = self._read_file(files, number, note, pool, threads, skip_bad, progress)
                if not note.rows:
                    raise InputError(f"{files[-1].path}: no rows that can be used ({note.skipped} were left out)")
                journal.mark(whole=True)
            finally:  # whatever ended the reading, what came before is good
                journal.commit()

    def _read_file(
        self, files: list[LogFile], number: int, note: Note, pool: ThreadPoolExecutor, threads: int,
        skip_bad: int, progress: Any,
    ) -> Note:  # fmt: skip
        file, journal = files[number], self._journal
        before = shown = sum(each.size for each in files[:number])
        *read, here = note.rows_by_file if len(note.rows_by_file) > number else (*note.rows_by_file, 0)
        committed = -COMMIT_SECONDS  # the first block tells whether the disk is large enough
        manner = Manner(note.dates, note.negative)
        with closing(self._blocks(file, note, manner, pool, threads)) as blocks:
            for block in blocks:
                self._skip(file, block.bad, note.skipped, skip_bad)
                self._add(block, pool)
                here += len(block.labels)
                note = journal.mark(
                    offset=block.offset,
                    row=block.first + block.rows,
                    rows=note.rows + len(block.labels),
                    skipped=note.skipped + len(block.bad),
                    rows_by_file=(*read, here),
                    dates=manner.dates,
                    negative=manner.negative,
                )
                reached = before + block.consumed
                if time.monotonic() - committed > COMMIT_SECONDS:
                    self._check_space(files, reached)
                    journal.commit()
                    committed = time.monotonic()
                if progress is not None:
                    progress.advance((reached >> 20) - (shown >> 20), f"reading {file.path.name}")
                    shown = reached
        file.check_unchanged()
        return journal.mark(file=number + 1, offset=0, row=1, rows_by_file=(*read, here))

    def _blocks(
        self, file: LogFile, note: Note, manner: Manner, pool: ThreadPoolExecutor, threads: int
    ) -> Generator[Block, None, None]:
        thread = partial(ahead, depth=_AHEAD)
        if (source := file.source(self._schema.reader)) is not None:
            return frame_blocks(file, source, self._schema, manner, thread, note.offset)
        if self._schema.names is None:
            if (form := form_of(file)) is not None:
                return sparse_blocks(file, self._schema, form, manner, note.offset, note.row)
            label = file.keys.get(self._schema.label)
            if label is not None and (form := form_of(file, labelled=False)) is not None:
                return sparse_blocks(file, self._schema, form, manner, note.offset, note.row, label)
        layout = Layout.of(file, self._schema)
        return text_blocks(file, layout, manner, pool, threads, thread, note.offset, note.row)

    def _skip(self, file: LogFile, bad: Any, skipped: int, allowed: int) -> None:
        """Write bad rows to the side file, or raise if they are too many."""
        over = allowed - skipped
        if len(bad) > over:
            first: BadRow = bad[max(over, 0)]
            more = f" (the {allowed} that --skip-bad tolerates came before it)" if allowed else ""
            raise InputError(f"{file.path}, row {first.row}: {first.reason}{more}; {self._ways.bad_row(allowed)}")
        for each in bad:
            told = {"file": file.name, "row": each.row, "reason": each.reason, "content": each.content}
            self._skipped.append(json.dumps(told, ensure_ascii=False).encode() + b"\n")

    def _add(self, block: Block, pool: ThreadPoolExecutor) -> None:
        """Append the rows of a block to all files, some at once."""
        jobs: list[Callable[[], None]] = [
            partial(self.features[name].add, keys) for name, keys in block.features.items()
        ]
        jobs.append(partial(self._add_numbers, block))
        for done in [pool.submit(job) for job in jobs]:
            done.result()

    def _add_numbers(self, block: Block) -> None:
        self.labels.append(block.labels)
        if self.times is not None and block.time is not None:
            self.times[0].append(block.time.units)
            self.times[1].append(block.time.steps)
        for name, values in zip(self.numeric, block.numeric, strict=True):
            values = values.astype(np.float32).astype(np.float64)  # what float32 holds is the same log, however written
            if self._settings.log:
                values = np.copysign(np.log1p(np.abs(values)), values)
            self.numeric[name].append(values)

    def _check_space(self, files: list[LogFile], consumed: int) -> None:
        """Raise an `InputError` if the disk is too small for what is still to be written, by what was so far."""
        of_features = [each for feature in self.features.values() for each in (feature.codes, feature.lengths) if each]
        by_row = [self.labels, *self.numeric.values(), *of_features]
        here = sum(file.tell() for file in by_row)
        share = sum(file.size for file in files) / max(consumed, 1)
        # The columns take about as much as the growing files, and those are there until the columns are.
        needed = here * (share - 1) + here * share
        free = shutil.disk_usage(self._journal.folder).free
        if free < needed:
            raise InputError(
                f"{self._journal.folder.parent}: about {format_size(int(needed))} more are needed, and "
                f"{format_size(free)} are free on that disk; {self._ways.no_room}"
            )
