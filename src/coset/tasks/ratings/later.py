"""Metrics and predictions of a finished run for rows: its own, or those of another file with the same columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from coset.data import DATASETS, Ratings, load_ratings
from coset.data.encoded import Encoded, look_up
from coset.data.ids import are_text
from coset.data.pairs import Pairs, read_pairs
from coset.data.settings import DataSettings, SplitSettings
from coset.data.shards import is_given
from coset.data.transforms import transform_named
from coset.data.vocabulary import Vocabulary
from coset.documents import Json
from coset.errors import InputError
from coset.files import expanded
from coset.models.dot import DotModel
from coset.tasks.base import Task
from coset.tasks.later import Scored, Trained
from coset.tasks.own import check_own, place_of
from coset.tasks.ratings.advice import hints, scale, terms
from coset.tasks.ratings.fingerprint import fingerprint
from coset.tasks.ratings.metrics import predicted
from coset.tasks.ratings.parts import Interactions, RatingsPart

if TYPE_CHECKING:
    import polars

VOCABULARIES = ("user.safetensors", "item.safetensors")
Run = Trained[DotModel]
_COLUMNS = ("user", "item", "rating", "separator")
_AS_TRAINED = ("rating_transform",)
"""Settings that other data share with those of the run, whatever their columns."""


class LaterRatings(Task[Ratings, Encoded, DotModel, Interactions]):
    """The part of the task on ratings that is about finished runs, and what is said of ratings and results."""

    data: DataSettings
    split: SplitSettings

    def hints(self, data: Ratings) -> Sequence[str]:
        """Whether they look like counts."""
        return hints(data)

    def terms(self, data: Ratings) -> Sequence[str]:
        """The scale of errors of transformed ratings."""
        return terms(data)

    def own_data(self, run: Trained[DotModel], moved: str | None = None) -> Ratings:
        """The ratings."""
        where = own_source(self.data.source, run.folder, moved)
        try:
            ratings = replace(self.data, source=where).load(timed=self.split.timed)
        except InputError as error:
            if moved is None and Path(where).exists() and not (Path(where).is_file() or Path(where).is_dir()):
                raise InputError(
                    f"{error}; {run.folder} was trained on what came through it: name a file with the same by --data"
                ) from None
            raise error from None
        check_own(fingerprint(ratings) == run.about["data"], where, run.folder, moved)
        return ratings

    def scored(self, run: Run, asked: Scored) -> Json:
        """Mean squared and mean absolute error, and the `scale` of transformed ratings that they are on."""
        ratings = self.own_data(run, asked.data) if asked.source is None else self._read_like(asked.source, asked)
        own = _is_own(run, ratings)
        part = asked.part or ("validation" if own else "all")
        rows = self._part_of(run, ratings, part, asked.source)
        metrics = self.evaluate(run.model, RatingsPart(Interactions(*look_up(rows, *vocabularies(run.folder)))))
        known = None if own else self._known(run, asked, rows)
        return {
            "run": str(run.folder), "dataset": ratings.name, "synthetic": ratings.synthetic, "own": own, "part": part,
            "rows": len(rows), "trained_on": run.metrics["rows"]["training"], "known": known, "scale": scale(ratings),
            **metrics,
        }  # fmt: skip

    def predictions(self, run: Run, asked: Scored) -> Iterator[polars.DataFrame]:
        """Ratings, beside user and item; on their own scale, whatever their transform."""
        import polars

        name = self.data.rating_transform
        transform = None if name is None else transform_named(name)
        own = self.data
        source = asked.source if asked.source is not None else own_source(self.data.source, run.folder, asked.data)
        names = {
            name: asked.columns.get(name) or getattr(own, name) for name in ("user", "item", "rating", "separator")
        }
        blocks: Iterable[Pairs]
        if asked.part in ("validation", "training"):
            ratings = self.own_data(run, asked.data) if asked.source is None else self._read_like(asked.source, asked)
            blocks = [_pairs(self._part_of(run, ratings, asked.part, asked.source))]
        elif source in DATASETS:
            blocks = [_pairs(load_ratings(source, to_learn=False))]
        elif not is_given(path := expanded(source)):
            raise InputError(f"{source}: no such file")
        else:
            blocks = read_pairs(path, **names, rated=asked.columns.get("rating") is not None)
        first, numbered = 1, vocabularies(run.folder)
        for block in blocks:
            ids = []
            columns: dict[str, list[str] | np.ndarray | polars.Series] = {}
            for vocabulary, raw in zip(numbered, (block.users, block.items), strict=True):
                try:
                    ids.append(torch.from_numpy(vocabulary.lookup(raw, convert=True, first=first)))
                except InputError as error:
                    raise InputError(f"{source}: {error}") from None
                text = are_text(vocabulary.values) or vocabulary.unseen == "shared"  # it may hold any text then
                columns[vocabulary.name] = list(map(str, raw.tolist())) if text else raw.astype(np.int64)
            if block.ratings is not None:
                columns["rating"] = block.ratings
            found = predicted(run.model, *ids).numpy()
            columns["prediction"] = found if transform is None else transform.back(found).astype(np.float32)
            first += len(block.users)
            yield polars.DataFrame(columns)

    def _known(self, run: Run, asked: Scored, rows: Ratings) -> int | None:
        """How many rows equal a row that the run was trained on, in any order; None where its data are missing."""
        try:
            encoded = self.encoded(self.own_data(run, asked.data), run.about["spec"]["seed"])
        except InputError:
            return None
        return rows.equal_to(encoded.ratings.select(encoded.split.training))

    def _part_of(self, run: Run, ratings: Ratings, part: str, source: str | None) -> Ratings:
        """The rows of a part of the data that the run was trained on, or all rows of any data.

        Raises:
            InputError: other data, which have no such part.
        """
        if part == "all":
            return ratings
        if not _is_own(run, ratings):
            raise InputError(
                f"{source}: not the data that {run.folder} was trained on, so no rows of it are its {part} part; leave "
                f"--part out"
            )
        if self.split.timed and ratings.times is None:
            ratings = self.own_data(run, source)
        encoded = self.encoded(ratings, run.about["spec"]["seed"])
        return encoded.ratings.select(getattr(encoded.split, part))

    def _read_like(self, source: str, asked: Scored) -> Ratings:
        """The ratings of a file, by the columns and the separator of the run where it has them and none are given.

        Without attributes: those that the run was trained on are in its vocabularies.
        """
        given = {name: getattr(self.data, name) for name in _AS_TRAINED}
        given |= {name: of for name, of in asked.columns.items() if of is not None}
        own = {name: getattr(self.data, name) for name in _COLUMNS}
        plain = DataSettings(source, **given)
        if source in DATASETS or not any(own.values()):
            return plain.load(to_learn=False)
        try:
            return DataSettings(source, **(own | given)).load(to_learn=False)
        except InputError as error:
            if not any(asked.columns.values()):  # a file of another format, whose columns may be recognised
                with suppress(InputError):
                    return plain.load(to_learn=False)
            raise error from None


def vocabularies(folder: Path) -> tuple[Vocabulary, Vocabulary]:
    """The vocabularies of users and of items in the folder of a run."""
    user, item = (Vocabulary.load(folder / name) for name in VOCABULARIES)
    return user, item


def own_source(was: str, folder: Path, moved: str | None = None) -> str:
    """Where the ratings are that a run was trained on: `moved`, or else where they were (`was`).

    Raises:
        InputError: the ratings are no longer there; the message names the `folder` of the run.
    """

    def is_there(source: str) -> bool:
        return source in DATASETS or is_given(expanded(source))

    return place_of(folder, was, moved, is_there)


def _is_own(run: Run, ratings: Ratings) -> bool:
    """Whether these are the ratings that the run was trained on, whatever their attributes."""
    found, own = fingerprint(ratings), run.about["data"]
    return bool((found["rows"], found["sha256"]) == (own["rows"], own["sha256"]))


def _pairs(ratings: Ratings) -> Pairs:
    import polars

    return Pairs(ratings.users, ratings.items, polars.Series("rating", ratings.ratings))
