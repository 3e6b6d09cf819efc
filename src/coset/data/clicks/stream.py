"""Batches from the columns of a part: windows are read column by column while batches of the last one are made."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from coset.data.clicks.batch import ClickBatch
from coset.data.clicks.columns import ColumnReader
from coset.data.clicks.order import BatchOrder

T = TypeVar("T")


@dataclass(frozen=True)
class Paths:
    """The files of a part: of the label, of every numeric column, and of every feature, in order; of a multi-hot
    feature, the ids and the places where those of each row begin."""

    label: Path
    numeric: tuple[Path, ...]
    one_hot: tuple[Path, ...]
    bags: Mapping[str, tuple[Path, Path]]


class _Window:
    """Rows that are shuffled together, once all columns of it are read. Numbers and ids are kept row by row, so that a
    shuffled row is in few places of memory."""

    def __init__(self, rows: int, order: np.ndarray | None, numeric: int, ids: int, dtype: np.dtype[Any]) -> None:
        self.rows = rows
        self.order = order
        self.labels = np.empty((rows, 1), dtype=np.uint8)
        self.numeric = np.empty((rows, numeric), dtype=np.float32)
        self.ids = np.empty((rows, ids), dtype=dtype)
        self.bags: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def batch(self, start: int, stop: int) -> ClickBatch:
        """The rows at these places of the window."""
        rows: slice | np.ndarray = slice(start, stop) if self.order is None else self.order[start:stop]
        labels = torch.from_numpy(self.labels[rows, 0].astype(np.float32))
        numeric = torch.from_numpy(np.array(self.numeric[rows]))
        ids = torch.from_numpy(self.ids[rows].T.astype(np.int64, order="C"))
        bags = {name: _bags(values, offsets, rows) for name, (values, offsets) in self.bags.items()}
        return ClickBatch(labels, numeric, ids, bags)


def _bags(values: np.ndarray, offsets: np.ndarray, rows: slice | np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    starts, lengths = offsets[:-1][rows], np.diff(offsets)[rows]
    begins = np.cumsum(lengths) - lengths
    places = np.repeat(starts - begins, lengths) + np.arange(int(lengths.sum()))
    return torch.from_numpy(values[places].astype(np.int64)), torch.from_numpy(begins.astype(np.int64))


def batches(paths: Paths, order: BatchOrder, start: int) -> Iterator[ClickBatch]:
    """The batches of an epoch from the one with number `start` on."""
    with ExitStack() as stack:
        reader = _Reader(paths, stack)
        first, skipped = divmod(start, order.per_window)
        windows = range(first, -(-order.batches // order.per_window))
        coming = reader.steps(order, first) if windows else iter(())
        window = _finished(coming)
        for number in windows:
            coming = reader.steps(order, number + 1) if number + 1 < windows.stop else iter(())
            assert window is not None
            following = None
            # This many columns of the next window for every batch of this one, so that no batch waits for all columns.
            share = -(-reader.columns // order.per_window)
            for at in range(skipped * order.batch_size, window.rows, order.batch_size):
                yield window.batch(at, min(at + order.batch_size, window.rows))
                for _ in range(share):
                    following = next(coming, following)
            window, skipped = _finished(coming) or following, 0


class _Reader:
    """The open columns of a part."""

    def __init__(self, paths: Paths, stack: ExitStack) -> None:
        def opened(path: Path) -> ColumnReader:
            reader = ColumnReader(path)
            stack.callback(reader.close)
            return reader

        self._label = opened(paths.label)
        self._numeric = [opened(path) for path in paths.numeric]
        self._one_hot = [opened(path) for path in paths.one_hot]
        self._bags = {name: (opened(values), opened(offsets)) for name, (values, offsets) in paths.bags.items()}
        self._dtype = np.result_type(np.uint8, *(column.dtype for column in self._one_hot))
        self.columns = 1 + len(self._numeric) + len(self._one_hot) + len(self._bags)

    def steps(self, order: BatchOrder, number: int) -> Iterator[_Window | None]:
        """Read a window column by column; yields the window last, and None before."""
        ranges = order.ranges(number)
        rows = sum(stop - start for start, stop in ranges)
        shuffled = order.shuffled(number, rows)
        window = _Window(rows, shuffled, len(self._numeric), len(self._one_hot), self._dtype)
        for matrix, columns in (
            (window.labels, [self._label]),
            (window.numeric, self._numeric),
            (window.ids, self._one_hot),
        ):
            for place, column in enumerate(columns):
                found, at = np.empty(rows, dtype=column.dtype), 0
                for start, stop in ranges:
                    column.read_into(found[at : at + stop - start], start)
                    at += stop - start
                matrix[:, place] = found
                yield None
        for name, (values, offsets) in self._bags.items():
            pieces, ends = [], [np.zeros(1, dtype=np.int64)]
            for start, stop in ranges:
                bounds = offsets.read(start, stop + 1)
                pieces.append(values.read(int(bounds[0]), int(bounds[-1])))
                ends.append(bounds[1:] - bounds[0] + ends[-1][-1])
            window.bags[name] = np.concatenate(pieces), np.concatenate(ends)
            yield None
        yield window


def _finished(steps: Iterator[_Window | None]) -> _Window | None:
    window = None
    for window in steps:  # noqa: B007
        pass
    return window


def ahead(source: Iterator[T], depth: int) -> Iterator[T]:
    """The items of `source`, made by a thread that is up to `depth` items ahead.

    An exception of the source is raised here, where its item would have come. Closing this iterator ends the thread.
    """
    waiting: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(depth)
    ended = threading.Event()

    def put(item: tuple[T | None, BaseException | None]) -> None:
        while not ended.is_set():
            try:
                waiting.put(item, timeout=0.1)
                return
            except queue.Full:
                continue

    def work() -> None:
        try:
            for item in source:
                put((item, None))
                if ended.is_set():
                    return
            put((None, None))
        except BaseException as error:
            put((None, error))
        finally:
            if hasattr(source, "close"):
                source.close()

    thread = threading.Thread(target=work, name="coset-read-ahead", daemon=True)
    thread.start()
    try:
        while True:
            item, error = waiting.get()
            if error is not None:
                raise error
            if item is None:
                return
            yield item
    finally:
        ended.set()
        thread.join()
