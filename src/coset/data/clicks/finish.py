"""The second step of `prepare`: writes columns of ids and numbers, one by one, so that a killed process continues at
the next column, and only a few vocabularies are in memory."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from coset import settings as fields
from coset.data.clicks.columns import ColumnWriter, FileFacts, narrowest
from coset.data.clicks.described import (
    PARTS,
    frequencies_path,
    ids_path,
    label_path,
    numeric_path,
    offsets_path,
    vocabulary_path,
)
from coset.data.clicks.journal import Grown, digest
from coset.data.clicks.numbering import Distinct, Hashed
from coset.data.clicks.parts import Parting
from coset.data.clicks.schema import MISSING, ClickSchema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.store import ClickData
from coset.data.clicks.vocabulary import ClickVocabulary
from coset.errors import InputError
from coset.kernels import distinct

_LARGEST = float(np.finfo(np.float32).max)
PIECE = 1 << 20
"""Number of rows that are processed at once."""

Facts = dict[str, Any]
"""The facts of a column for `prepared.json`, as plain JSON values: `columns` and `vocabularies`, by path, `content`, a
digest of what was read, and `feature` or `numeric`."""


@dataclass(frozen=True)
class Finisher:
    """Writes the columns of prepared data.

    Args:
        out: their folder.
        schema, settings: the choices.
        parting: decides which rows validate.
        rows: number of rows.
        like: other prepared data, whose vocabularies and means replace those of the training rows.
        again: how to resume with other settings, for errors.
    """

    out: Path
    schema: ClickSchema
    settings: PrepareSettings
    parting: Parting
    rows: int
    like: ClickData | None = None
    again: str = ""

    def labels(self, labels: Grown) -> Facts:
        """Write the labels."""
        paths = [label_path(self.out, part) for part in PARTS]
        with ColumnWriter(paths[0], np.dtype(np.uint8)) as training, ColumnWriter(paths[1], training.dtype) as other:
            clicks = np.zeros(2, dtype=np.int64)
            for validates, (start, stop) in self._pieces():
                values = labels.read(start, stop)
                chosen = validates == 0
                training.append(values[chosen])
                other.append(values[~chosen])
                clicks += [int(values[chosen].sum()), int(values[~chosen].sum())]
        parts = {"training": training.length, "validation": other.length}
        rate = clicks[0] / training.length if training.length else clicks[1] / max(other.length, 1)
        return {"columns": _facts(self.out, training, other), "parts": parts, "click_rate": float(rate),
                "content": digest([labels])}  # fmt: skip

    def numeric(self, name: str, values: Grown) -> Facts:
        """Standardise a numeric column, and write it and a column of its missing values."""
        mean, deviation, missing = self._moments(values)
        written: list[ColumnWriter] = []
        names = [name, name + MISSING] if self.settings.indicators and missing else [name]
        if self.like is not None:
            facts = self.like.facts["numeric"][name]
            mean, deviation, missing = facts["mean"], facts["std"], facts["missing"]
            names = [column for column in (name, name + MISSING) if column in self.like.numeric]
        elif not self.settings.standardise:
            mean, deviation = 0.0, 1.0
        for column in names:
            paths = [numeric_path(self.out, part, column) for part in PARTS]
            with ColumnWriter(paths[0], np.dtype(np.float32)) as training, ColumnWriter(paths[1], training.dtype) as of:
                for validates, (start, stop) in self._pieces():
                    found = values.read(start, stop)
                    absent = np.isnan(found)
                    if column == name:
                        # Rounded once, from float64; 0 is the mean.
                        with np.errstate(invalid="ignore"):
                            found = np.where(absent, 0, (found.astype(np.float64) - mean) / deviation)
                        found = np.clip(found, -_LARGEST, _LARGEST)  # later logs may hold any number
                    else:
                        found = absent
                    _part(training, of, found, validates)
            written += [training, of]
        facts = {"names": names, "mean": mean, "std": deviation, "missing": missing}
        return {"columns": _facts(self.out, *written), "numeric": facts, "content": digest([values])}

    def feature(self, name: str, numbering: Distinct | Hashed) -> Facts:
        """Give the categories of a feature their ids, and write ids, frequencies and vocabulary."""
        if self.like is not None:
            ids, frequencies, facts = self._as_before(self.like, name, numbering)
        elif isinstance(numbering, Hashed):
            ids, frequencies, facts = self._by_hash(numbering)
        else:
            ids, frequencies, facts = self._by_frequency(name, numbering)
        written = self._write_ids(name, numbering, ids, len(frequencies))
        with ColumnWriter(frequencies_path(self.out, name), np.dtype(np.int64)) as column:
            column.append(frequencies)
        described = {"name": name, "num_embeddings": len(frequencies), "multi_hot": name in self.schema.lists}
        found = {"columns": _facts(self.out, *written, column), "feature": described | facts,
                 "content": digest(numbering.files)}  # fmt: skip
        if not isinstance(numbering, Hashed):
            path = vocabulary_path(self.out, name)
            found["vocabularies"] = {path.relative_to(self.out).as_posix(): fields.plain(FileFacts.of(path))}
        return found

    def _by_hash(self, numbering: Hashed) -> tuple[np.ndarray, np.ndarray, Facts]:
        buckets = numbering.buckets.modulus
        counts = np.zeros(buckets + 1, dtype=np.uint32)
        self._count(numbering, counts)
        return np.arange(buckets + 1, dtype=np.int32), counts, {"buckets": buckets, "missing": buckets, "shared": None}

    def _as_before(
        self, like: ClickData, name: str, numbering: Distinct | Hashed
    ) -> tuple[np.ndarray, np.ndarray, Facts]:
        """The ids and frequencies of the categories in `like`."""
        feature = next(each for each in like.features if each.name == name)
        frequencies = np.zeros(0) if feature.frequencies is None else np.asarray(feature.frequencies)
        facts = {key: of for key, of in like.facts["features"][name].items() if key != "num_embeddings"}
        if isinstance(numbering, Hashed):
            return np.arange(feature.num_embeddings, dtype=np.int32), frequencies, facts
        vocabulary = like.vocabulary(name)
        vocabulary.save(vocabulary_path(self.out, name))
        keys = np.append(numbering.keys.read(), 0)
        missing = np.zeros(len(keys), dtype=np.uint8)
        missing[-1] = 1
        return vocabulary.ids(keys, missing, refuse=False).astype(np.int32), frequencies, facts

    def _by_frequency(self, name: str, numbering: Distinct) -> tuple[np.ndarray, np.ndarray, Facts]:
        """The id of every number that reading gave to a category, with that of missing ones last; the frequencies of
        ids; and facts."""
        settings, keys = self.settings, numbering.keys.read()
        counts = np.zeros(len(keys) + 1, dtype=np.uint32)
        self._count(numbering, counts)
        places = np.flatnonzero(counts[:-1] >= settings.min_frequency).astype(np.int32)
        # Ties by value where values are numbers, and by first appearance where they are texts.
        if numbering.text is None:
            places = places[np.argsort(keys[places])]
        places = _by_count(places, counts)[: settings.max_size]
        often, missing = counts[places], None
        if counts[-1]:
            missing = int(np.searchsorted(-often.astype(np.int64), -int(counts[-1]), side="right"))
        own = len(places) + (missing is not None)
        shared = own if settings.unseen == "shared" else None
        ids = np.full(len(counts), -1 if shared is None else shared, dtype=np.int32)
        order = np.arange(len(places), dtype=np.int32)
        if missing is not None:
            order[missing:] += 1
            often = np.insert(often, missing, counts[-1])
            ids[-1] = missing
        ids[places] = order
        rare = int(counts.sum(dtype=np.int64)) - int(often.sum(dtype=np.int64))
        if shared is not None:
            often = np.append(often, rare)
        elif not own:
            raise InputError(f"feature {name!r}: no training row has a category; leave the column out")
        text, offsets = _texts(numbering, places)
        vocabulary = ClickVocabulary(name, self.schema.type_of(name), keys[places], missing, shared, text, offsets)
        vocabulary.save(vocabulary_path(self.out, name))
        facts: Facts = {"distinct": len(keys), "kept": len(places), "missing": missing, "shared": shared}
        if name not in self.schema.lists and (found := _separator(vocabulary, counts[places])) is not None:
            facts["lists_with"] = found
        return ids, often, facts

    def _count(self, numbering: Distinct | Hashed, counts: np.ndarray) -> None:
        for codes, validates in self._codes(numbering):
            distinct.count(codes, validates, counts)

    def _write_ids(self, name: str, numbering: Distinct | Hashed, ids: np.ndarray, size: int) -> list[ColumnWriter]:
        dtype = narrowest(size - 1)
        paths = [ids_path(self.out, part, name) for part in PARTS]
        with ColumnWriter(paths[0], dtype) as training, ColumnWriter(paths[1], dtype) as validation:
            seen, refused = 0, int(ids.min()) < 0
            for codes, validates in self._codes(numbering):
                found = ids[codes]  # the number -1 stands for the last of them
                if refused and found.min(initial=0) < 0:
                    raise InputError(
                        f"feature {name!r}, {'item' if numbering.lengths else 'row'} {seen + int((found < 0).argmax())}"
                        " (counted from 0): the validation part has a category that no training row has; prepare with "
                        f"unseen = 'shared'{self.again}"
                    )
                _part(training, validation, found, validates)
                seen += len(codes)
        if numbering.lengths is None:
            return [training, validation]
        paths = [offsets_path(self.out, part, name) for part in PARTS]
        with ColumnWriter(paths[0], np.dtype(np.int64)) as ends, ColumnWriter(paths[1], np.dtype(np.int64)) as others:
            reached = {ends: 0, others: 0}
            for column in reached:
                column.append(np.zeros(1))
            for validates, (start, stop) in self._pieces():
                lengths = numbering.lengths.read(start, stop)
                for column, wanted in ((ends, validates == 0), (others, validates != 0)):
                    found = reached[column] + np.cumsum(lengths[wanted], dtype=np.int64)
                    column.append(found)
                    reached[column] = int(found[-1]) if len(found) else reached[column]
        return [training, validation, ends, others]

    def _pieces(self) -> Iterator[tuple[np.ndarray, tuple[int, int]]]:
        """Pieces of rows: whether each validates, and the first row and one past the last."""
        for start in range(0, self.rows, PIECE):
            stop = min(start + PIECE, self.rows)
            yield self.parting.validates(start, stop), (start, stop)

    def _codes(self, numbering: Distinct | Hashed) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Numbers of categories, and whether each validates."""
        at = 0
        for validates, (start, stop) in self._pieces():
            if numbering.lengths is None:
                yield numbering.codes.read(start, stop), validates
                continue
            lengths = numbering.lengths.read(start, stop)
            count = int(lengths.sum())
            yield numbering.codes.read(at, at + count), np.repeat(validates, lengths)
            at += count

    def _moments(self, values: Grown) -> tuple[float, float, int]:
        """Mean and standard deviation of the training rows' values, and how many are missing there. Summed piece by
        piece about the first mean, in float64 (Chan, Golub and LeVeque), so that large means cost no precision."""
        count, mean, squares, missing = 0, 0.0, 0.0, 0
        for validates, (start, stop) in self._pieces():
            found = values.read(start, stop)[validates == 0].astype(np.float64)
            filled = found[~np.isnan(found)]
            missing += len(found) - len(filled)
            if len(filled):
                own = float(filled.mean())
                total = count + len(filled)
                step = own - mean
                squares += float(((filled - own) ** 2).sum()) + step * step * count * len(filled) / total
                mean += step * len(filled) / total
                count = total
        deviation = float(np.sqrt(squares / count)) if count else 0.0
        return mean, deviation if deviation > 0 else 1.0, missing


_LOOKED_AT = 2000
_FEWEST = 50


def _separator(vocabulary: ClickVocabulary, counts: np.ndarray) -> str | None:
    """The separator of a column that seems to hold lists, judged by its most frequent texts: most rows have that
    character inside, and there are fewer distinct items than texts."""
    if vocabulary.text is None or vocabulary.offsets is None or len(counts) < _FEWEST:
        return None
    ends = vocabulary.offsets[: _LOOKED_AT + 1].tolist()
    texts = [bytes(vocabulary.text[start:stop]) for start, stop in pairwise(ends)]
    rows = counts[: len(texts)].astype(np.int64)
    for separator in (b"|", b"^", b";", b","):
        parts = [text.split(separator) for text in texts]
        several = np.array([len(part) > 1 and all(part) for part in parts])
        items = {item for part in parts for item in part}
        if 2 * int(rows[several].sum()) > int(rows.sum()) and len(items) < len(texts):
            return separator.decode()
    return None


def _facts(out: Path, *written: ColumnWriter) -> dict[str, Any]:
    return {column.path.relative_to(out).as_posix(): fields.plain(column.facts) for column in written}


def _part(training: ColumnWriter, validation: ColumnWriter, values: np.ndarray, validates: np.ndarray) -> None:
    """Append values to the training or the validation column."""
    found = np.empty(len(values), dtype=training.dtype), np.empty(len(values), dtype=training.dtype)
    for column, of, count in zip((training, validation), found, distinct.part(values, validates, *found), strict=True):
        column.append(of[:count])


def _by_count(places: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """The places in descending order of their counts, and in their own order where those are equal. Sorted as single
    numbers of 64 bits, which is faster than a stable sort, and takes less memory."""
    if not len(places):
        return places
    of = counts[places].astype(np.int64)
    words = ((int(of.max()) - of) << 31) | np.arange(len(places))
    del of
    words.sort()
    found: np.ndarray = places[words & ((1 << 31) - 1)]
    return found


def _texts(numbering: Distinct, places: np.ndarray) -> tuple[np.ndarray | None, np.ndarray | None]:
    """The texts of the categories of some numbers, one after the other, and where they begin."""
    if numbering.text is None or numbering.text_lengths is None:
        return None, None
    lengths = numbering.text_lengths.read()
    begins = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths, dtype=np.int64)])
    offsets = np.concatenate([np.zeros(1, dtype=np.int64), np.cumsum(lengths[places], dtype=np.int64)])
    text = np.empty(int(offsets[-1]), dtype=np.uint8)
    distinct.gather(numbering.text.read(), begins, places, offsets, text)
    return text, offsets
