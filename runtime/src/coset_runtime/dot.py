"""Dot models: ratings of items by users, and the items that a user would rate best."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from coset_runtime.arrays import Products, Rows, products
from coset_runtime.errors import Damaged, InputError, brief, entry
from coset_runtime.history import Histories
from coset_runtime.tables import Table, among, summed
from coset_runtime.tensors import Tensors
from coset_runtime.top import Items, Pairs, candidates, ranked
from coset_runtime.vocabulary import Vocabulary, listed

_USERS_AT_ONCE = 256
_PAIRS_AT_ONCE = 1 << 14
_INVERSES = {None: None, "expm1": np.expm1}


class Ranked(NamedTuple):
    """Recommendations, a row each: users in the order in which they were given, and of each the best item first.

    Args:
        users, items: raw ids.
        predictions: of ratings, float32.
    """

    users: np.ndarray
    items: np.ndarray
    predictions: np.ndarray


class _Side(NamedTuple):
    vocabulary: Vocabulary
    table: Table | None
    bias: Table | None


class DotModel:
    """A model that rates an item by the product of its vector and that of the user.

    Args:
        of: the section `model` of a manifest.
        tables, vocabularies: by name.
        tensors: of the model.

    Raises:
        Damaged: they contradict each other.
    """

    def __init__(
        self, of: Any, tables: Mapping[str, Table], vocabularies: Mapping[str, Vocabulary], tensors: Tensors
    ) -> None:
        self.tables, self.vocabularies = tables, vocabularies
        self._user, self._item = (self._side(entry(of, role, dict, "model"), role) for role in ("user", "item"))
        if (self._user.table is None) != (self._item.table is None):
            raise Damaged("model: one side has vectors, and the other none")
        if (
            self._user.table is not None
            and self._item.table is not None
            and self._user.table.dim != self._item.table.dim
        ):
            raise Damaged(f"model: vectors of {self._user.table.dim} and {self._item.table.dim} elements")
        self._mean = 0.0
        if entry(of, "mean", (str, type(None)), "model") is not None:
            mean = tensors[of["mean"]]
            if mean.type not in ("F32", "F64") or mean.array.size != 1:
                raise Damaged(f"model: its mean is of {mean.type} and shape {mean.array.shape}")
            self._mean = float(mean.array.reshape(-1)[0])
        self.output = entry(of, "output", str, "model")
        self.low, self.high, self.unit = (
            float(entry(of, key, (float, int), "model")) for key in ("low", "high", "unit")
        )
        if self.output not in ("linear", "sigmoid") or not self.low < self.high:
            raise Damaged(f"model: its output is {brief(self.output)} in {self.low} … {self.high}")
        inverse = entry(of, "inverse", (str, type(None)), "model")
        if inverse not in _INVERSES:
            raise Damaged(f"model: the inverse {brief(inverse)} is unknown to this coset-runtime; update it")
        self._inverse = _INVERSES[inverse]
        self._histories: Histories | None = None
        if (history := entry(of, "history", (dict, type(None)), "model")) is not None:
            rated = self._table(history, "table", self._item.vocabulary.ids)
            if rated is None or self._item.table is None or rated.dim != self._item.table.dim:
                raise Damaged("model: histories without vectors of the dim of the others")
            self._histories = Histories(history, tensors, self._user.vocabulary.ids, rated)

    # -- what users ask ------------------------------------------------------------------------------------------

    def lookup(self, side: str, raw: Any) -> np.ndarray:
        """Vectors.

        Args:
            side: `"user"` or `"item"`, or the name of a vocabulary or of a table.
            raw: a raw id, or a list of them.

        Returns:
            Of shape `(dim,)` or `(ids, dim)`; where an id has several vectors, `(outputs, dim)` or
            `(ids, outputs, dim)`.

        Raises:
            InputError: there is no such side, or an id is unknown or of another type.
        """
        table, vocabulary = self._named(side)
        given, alone = listed(raw, f"ids of {side!r}")
        found = table.vectors(vocabulary.find(given))
        found = found[:, 0] if table.outputs == 1 else found
        return np.array(found[0] if alone else found)

    def score(self, users: Any, items: Any) -> Any:
        """Predictions of ratings, float32: of pairs of raw ids, one alone or lists of one length.

        Raises:
            InputError: an id is unknown or of another type, or there are not as many users as items.
        """
        (left, alone), (right, _) = listed(users, "users"), listed(items, "items")
        if len(left) != len(right):
            raise InputError(f"score takes pairs: {len(left)} users and {len(right)} items are not as many")
        pairs = Pairs(self._user.vocabulary.find(left), self._item.vocabulary.find(right))
        parts = [slice(at, at + _PAIRS_AT_ONCE) for at in range(0, len(left), _PAIRS_AT_ONCE)]
        found = [self._predicted(self._scores(Pairs(pairs.users[part], pairs.items[part]))) for part in parts]
        whole = np.concatenate([*found, np.zeros(0, np.float32)])
        return float(whole[0]) if alone else whole

    def recommend(
        self, users: Any, k: int = 10, *, exclude: Mapping[Any, Sequence[Any]] | Sequence[Any] = (), items: Any = None
    ) -> Ranked:
        """The k items that each user would rate best, exactly: by the score before it is cut to the range of ratings,
        and of equal scores the item whose id in the table is smaller, which was more frequent in training.

        Args:
            users: a raw id, or a list of them.
            k: how many; users have fewer where fewer are left.
            exclude: items that are not recommended: for all users, or by user in a mapping. Those that the model does
                not know are never recommended anyway.
            items: the only ones that are; all by default.

        Raises:
            InputError: an id is unknown or of another type, or k is not in 1 … the number of items.
        """
        given, _ = listed(users, "users")
        known = self._item.vocabulary
        if not isinstance(k, int | np.integer) or isinstance(k, bool) or not 1 <= k <= known.count:
            raise InputError(f"k must be a number of items from 1 to {known.count}, not {brief(k)}")
        found = self._user.vocabulary.find(given)
        only = None
        if items is not None:
            only = np.unique(known.find(listed(items, "items")[0]))
            only = only[only < known.count]
        left_out = self._left_out(given, found, exclude)
        rows, best, scores = [], [], []
        for at in range(0, len(given), _USERS_AT_ONCE):
            some = slice(at, at + _USERS_AT_ONCE)
            inside = slice(*np.searchsorted(left_out.users, (at, at + _USERS_AT_ONCE)))
            pairs, of = self._best(
                found[some], int(k), Pairs(left_out.users[inside] - at, left_out.items[inside]), only
            )
            rows.append(pairs.users + at)
            best.append(pairs.items)
            scores.append(of)
        place = np.concatenate([*rows, np.zeros(0, np.int64)])
        items_ = known.raw(np.concatenate([*best, np.zeros(0, np.int64)]))
        asked = np.array(given, np.int64) if self._user.vocabulary.kind != "text" else _texts(given)
        return Ranked(asked[place], items_, self._predicted(np.concatenate([*scores, np.zeros(0)])))

    # -- how -----------------------------------------------------------------------------------------------------

    def _best(self, users: np.ndarray, k: int, left_out: Pairs, only: np.ndarray | None) -> tuple[Pairs, np.ndarray]:
        """The best pairs of these users' places, and their scores."""
        count = self._item.vocabulary.count
        if only is None and count < self._item.vocabulary.ids:
            only = np.arange(count)  # without the id that all unknown items share
        own = left_out
        if self._histories is not None:  # whose items are scored by what is left of it without them
            rated = self._histories.read(users)
            own = Pairs(np.concatenate([own.users, rated.owners]), np.concatenate([own.items, rated.items]))
        order = np.argsort(own.items, kind="stable")
        own = Pairs(own.users[order], own.items[order])
        items = Items(count, self._item_products, self._item_biases)
        pairs = candidates(self._user_vectors(users), items, k, own, only)
        if self._histories is not None:
            pairs = self._with_rated(pairs, users, left_out, only)
        parts = [slice(at, at + _PAIRS_AT_ONCE) for at in range(0, len(pairs.users), _PAIRS_AT_ONCE)]
        scores = np.concatenate(
            [*(self._scores(Pairs(users[pairs.users[part]], pairs.items[part])) for part in parts), np.zeros(0)]
        )
        kept = ranked(pairs, scores, k, len(users))
        return Pairs(pairs.users[kept], pairs.items[kept]), scores[kept]

    def _with_rated(self, pairs: Pairs, users: np.ndarray, left_out: Pairs, only: np.ndarray | None) -> Pairs:
        """With the items of histories that count."""
        assert self._histories is not None
        rated, count = self._histories.read(users), self._item.vocabulary.ids
        counts = ~np.isin(rated.owners * count + rated.items, left_out.users * count + left_out.items)
        counts &= rated.items < self._item.vocabulary.count
        if only is not None:
            counts &= np.isin(rated.items, only)
        return Pairs(
            np.concatenate([pairs.users, rated.owners[counts]]), np.concatenate([pairs.items, rated.items[counts]])
        )

    def _scores(self, pairs: Pairs) -> np.ndarray:
        """Scores of pairs of ids, float64: the same bits whatever else is asked for."""
        found = np.full(len(pairs.users), self._mean)
        for side, ids in ((self._user, pairs.users), (self._item, pairs.items)):
            if side.bias is not None:
                found += side.bias.vectors(ids)[:, :, 0].sum(1, dtype=np.float64)
        if self._user.table is None or self._item.table is None:
            return found
        left, right = (
            table.vectors(ids).astype(np.float64)
            for table, ids in ((self._user.table, pairs.users), (self._item.table, pairs.items))
        )
        if self._histories is not None:
            left[:, 0] += self._histories.without(pairs.users, pairs.items)
        sums = left.sum(1), right.sum(1)
        for vectors, sum_ in zip((left, right), sums, strict=True):
            if vectors.shape[1] > 1:
                found += among(vectors, sum_)
        return np.asarray(found + (sums[0] * sums[1]).sum(-1))

    def _user_vectors(self, users: np.ndarray) -> np.ndarray:
        """What the vectors of items are multiplied by, shape `(users, dim)`."""
        if self._user.table is None:
            return np.zeros((len(users), 0), np.float32)
        found = self._user.table.vectors(users)
        if self._histories is not None:
            found = found.copy()
            found[:, 0] += self._histories.of(users)
        return summed(found)

    def _item_products(self, items: Rows, users: np.ndarray) -> Products:
        if self._item.table is None:
            return products(np.zeros((self._length(items), 0), users.dtype), users)
        if self._item.table.outputs == 1:
            return self._item.table.node.products(items, users)
        return products(summed(self._item.table.vectors(items)), users)

    def _item_biases(self, items: Rows) -> np.ndarray:
        dtype = np.float32 if self._item.table is None else self._item.table.node(slice(0, 1)).dtype
        found = np.zeros(self._length(items), dtype)
        if self._item.bias is not None:
            found += self._item.bias.vectors(items)[:, :, 0].sum(1)
        if self._item.table is not None and self._item.table.outputs > 1:
            vectors = self._item.table.vectors(items).astype(np.float64)
            found += among(vectors, vectors.sum(1))
        return found

    def _length(self, items: Rows) -> int:
        return len(range(*items.indices(self._item.vocabulary.ids))) if isinstance(items, slice) else len(items)

    def _predicted(self, scores: np.ndarray) -> np.ndarray:
        """Predictions of scores."""
        if self.output == "sigmoid":
            scores = self.low + (self.high - self.low) / (1 + np.exp(-scores))
        else:
            scores = scores * self.unit
        found = np.clip(scores, self.low, self.high)
        return (found if self._inverse is None else self._inverse(found)).astype(np.float32)

    # -- what is there -------------------------------------------------------------------------------------------

    def _left_out(self, given: list[Any], users: np.ndarray, exclude: Any) -> Pairs:
        """What is excluded, in order of users' places."""
        known = self._item.vocabulary
        places: list[np.ndarray] = []
        items: list[np.ndarray] = []
        if isinstance(exclude, Mapping):
            by = dict(exclude)
            for raw in by:
                self._user.vocabulary.find([raw], unknown=True)  # raises for one of another type
            for place, raw in enumerate(given):
                if raw in by:
                    found = known.find(listed(by[raw], "excluded items")[0], unknown=True)
                    items.append(np.unique(found[found >= 0]))
                    places.append(np.full(len(items[-1]), place, np.int64))
        else:
            found = known.find(listed(exclude, "excluded items")[0], unknown=True)
            every = np.unique(found[found >= 0])
            places, items = [np.repeat(np.arange(len(users)), len(every))], [np.tile(every, len(users))]
        none = np.zeros(0, np.int64)
        return Pairs(np.concatenate([*places, none]), np.concatenate([*items, none]))

    def _named(self, side: str) -> tuple[Table, Vocabulary]:
        for role, of in (("user", self._user), ("item", self._item)):
            if side in (role, of.vocabulary.name) and of.table is not None:
                return of.table, of.vocabulary
            for table in (of.table, of.bias):
                if table is not None and self.tables.get(side) is table:
                    return table, of.vocabulary
        raise InputError(f"there is no table {brief(side)}; there are {', '.join(map(repr, self.tables))}")

    def _side(self, of: Any, role: str) -> _Side:
        name = entry(of, "vocabulary", str, f"model, {role}")
        if name not in self.vocabularies:
            raise Damaged(f"model, {role}: there is no vocabulary {brief(name)}")
        ids = self.vocabularies[name].ids
        found = _Side(self.vocabularies[name], self._table(of, "table", ids), self._table(of, "bias", ids))
        if found.bias is not None and found.bias.dim != 1:
            raise Damaged(f"model, {role}: a bias of {found.bias.dim} elements")
        return found

    def _table(self, of: Any, key: str, ids: int) -> Table | None:
        name = entry(of, key, (str, type(None)), "model")
        if name is None:
            return None
        if name not in self.tables or self.tables[name].ids != ids:
            raise Damaged(f"model: there is no table {brief(name)} of {ids} ids")
        return self.tables[name]


def _texts(given: list[Any]) -> np.ndarray:
    found = np.empty(len(given), object)
    found[:] = given
    return found
