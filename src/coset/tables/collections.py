"""`EmbeddingCollection` and `EmbeddingBagCollection`: many features read from the tables they share."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.engine.base import Lookup
from coset.errors import InputError, brief, unknown
from coset.methods import Method, TableModule
from coset.schema import Table, pairs
from coset.settings import number
from coset.tables.bags import Bags, Mode, check_offsets, check_weights, checked_mode, closed, read_bags
from coset.tables.features import FeatureIds, FeatureValues, check_whole, expanded, read_feature, read_features
from coset.tables.nested import bags_within, is_nested, like, values_within
from coset.tables.owner import MethodLike, NamedModules, Tables, check_type, checked, or_nan
from coset.tables.plain import by_torch
from coset.tables.pooling import pool


class _Collection(Tables):
    """Features, the tables they read, and the arrays that tables share.

    Args:
        tables: each table with its method (a `Method`, a name or JSON).
        features: feature → table; several features may read one table. By default every table is a feature of its own
            name.
        full_below: tables of fewer ids than this stay full, whatever their method.
        orders: id → popularity rank, by table name; see `Embedding`.
        device: of the parameters.

    Methods that name a shared array (`Robe(array=…)`) store it once, as `shared.<array>`.
    """

    def __init__(
        self,
        tables: Iterable[tuple[Table, MethodLike]],
        features: Mapping[str, str] | None = None,
        *,
        full_below: int = 0,
        orders: Mapping[str, np.ndarray | Tensor] | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        least = number("full_below", full_below)
        chosen = [(table, "full" if table.num_embeddings < least else how) for table, how in pairs(tables)]
        super().__init__(chosen, orders, device)
        names = self._names
        if features is not None and not isinstance(features, Mapping):
            raise InputError(f"features must map names of features to tables, not {brief(features)}")
        self.features = dict(features) if features is not None else {name: name for name in names}
        for feature, table in self.features.items():
            if table not in names:
                raise unknown(f"table (of feature {feature!r})", table, names)
        outputs = [output for feature in self.features for output in self.outputs(feature)]
        if double := sorted({output for output in outputs if outputs.count(output) > 1}):
            raise InputError(f"two features give an output {double[0]!r}; rename one")
        if unread := sorted(set(names) - set(self.features.values())):
            raise InputError(f"no feature reads table {unread[0]!r}; name one or leave the table out")
        self._table_of: dict[str, Table] = {feature: self.tables[name].table for feature, name in self.features.items()}
        self._shapes: dict[str, tuple[Method, tuple[int, ...]]] = {}
        """What vectors of a feature are like, by the method that says so; a call for each would take long."""
        if pool := _shared([self.tables[name] for name in names]):
            self.shared = NamedModules(pool)

    @property
    def output_dims(self) -> dict[str, int]:
        """`embedding_dim` of each output of `forward` by name, in order; `feature@0`, `feature@1` … where a method
        gives several vectors."""
        return {
            output: self.tables[table].table.embedding_dim
            for feature, table in self.features.items()
            for output in self.outputs(feature)
        }

    def _features(self) -> dict[str, str]:
        return self.features

    def _by_torch(self, asked: Sequence[Lookup] | Tensor, joined: bool) -> Tensor:
        return by_torch(self, list(self.features.values()), asked, joined)

    def _one_each(self, features: Any, joined: bool) -> Any:
        """What an engine finds for ids of one dimension, as many of each feature, by its shortest way; else None."""
        if type(features) is not dict or (engine := self._kernels) is None:
            return None
        return engine.one_each(features, joined)

    def _look_up_fused(self, lookups: Mapping[str, Lookup]) -> Iterator[tuple[str, Tensor]]:
        """Features that an engine looks up, all in one call, and their vectors, of shape `(bags, *vector_shape)`."""
        if not lookups:
            return
        engine = self._kernels
        look_up = self._by_torch if engine is None else engine.look_up  # tables may be exchanged at any moment
        flat = look_up(list(lookups.values()), False)
        shapes = [(lookup.bags, *self._vector_shape(feature)) for feature, lookup in lookups.items()]
        # Views of one call, which are made in less time, are not to be changed in place where there are gradients.
        alone = not torch.compiler.is_compiling() and torch.is_inference_mode_enabled()
        if alone and shapes.count(shapes[0]) == len(shapes):
            yield from zip(lookups, flat.view(len(shapes), *shapes[0]).unbind(), strict=True)
            return
        # Slices that do not overlap, so changing one in place does not affect the others.
        parts = flat.unsafe_split_with_sizes([prod(shape) for shape in shapes])
        for feature, shape, vectors in zip(lookups, shapes, parts, strict=True):
            yield feature, vectors.view(shape)

    def _vector_shape(self, feature: str) -> tuple[int, ...]:
        module: Any = self.tables._modules[self.features[feature]]
        known, shape = self._shapes.get(feature, (None, ()))
        if known is not module.method:
            shape = module.vector_shape
            self._shapes[feature] = module.method, shape
        return shape

    def _lookup_of(self, feature: str, ids: Tensor) -> Lookup | None:
        """The lookup of these ids, one a bag, for kernels; None where they do not look up this feature."""
        if (engine := self._kernels) is None or (number := engine.numbers.get(feature)) is None:
            return None
        check_type(self._table(feature), ids)
        return Lookup(number, ids.reshape(-1).contiguous())

    def _look_up(self, feature: str, ids: Tensor) -> tuple[Tensor, Tensor | None]:
        """Vectors of ids and, in graphs, which of these are in range."""
        if (lookup := self._lookup_of(feature, ids)) is not None:
            ((_, flat),) = self._look_up_fused({feature: lookup})
            return flat.view(*ids.shape, *self._vector_shape(feature)), None
        name = self.features[feature]
        ids, inside = checked(self.tables[name].table, ids)
        return self.tables[name].lookup(self._rows_of(name, ids)), inside

    def _named(self, feature: str, vectors: Tensor) -> dict[str, Tensor]:
        """The vectors of a feature, by output."""
        names = self.outputs(feature)
        return {feature: vectors} if len(names) == 1 else dict(zip(names, vectors.unbind(-2), strict=True))

    def outputs(self, feature: str) -> list[str]:
        """The names of a feature's vectors in what `forward` returns: its name, or `feature@0`, `feature@1` … where its
        method gives several an id."""
        count = self.tables[self.features[feature]].method.table_outputs
        return [feature] if count == 1 else [f"{feature}@{number}" for number in range(count)]

    def _table(self, feature: str) -> Table:
        if feature not in self._table_of:
            raise unknown("feature", feature, self.features)
        return self._table_of[feature]


class EmbeddingCollection(_Collection):
    """Several tables, read together, one vector an id: `{feature: ids}` → `{feature: vectors}`.

    Ids are a tensor of any shape, a jagged nested tensor, `(values, offsets)`, a TorchRec `JaggedTensor`, or all at
    once a `KeyedJaggedTensor`, of which the values are read: a vector each, whatever inverse indices say of their bags.

    Example:
        >>> both = EmbeddingCollection([(Table("user", 10, 4), "full"), (Table("movie", 20, 4), "full")])
        >>> found = both({"user": torch.tensor([1, 2]), "movie": torch.tensor([3, 4])})
        >>> found["movie"].shape
        torch.Size([2, 4])
    """

    def forward(self, features: Mapping[str, FeatureIds] | Any) -> dict[str, Tensor]:
        """Vectors by feature, of shape `(*ids.shape, embedding_dim)`, for those features that are given."""
        if (together := self._one_each(features, False)) is not None:
            return dict(zip(features, together, strict=True))
        read = read_features(features, self.features)
        given = {
            feature: FeatureValues(values_within(self._table(feature), ids.values)) if is_nested(ids.values) else ids
            for feature, ids in read.items()
        }
        lookups: dict[str, Lookup] = {}
        vectors: dict[str, Tensor] = {}
        for feature, ids in given.items():
            table = self._table(feature)
            if ids.offsets is not None:
                check_offsets(table, ids.values, ids.offsets, ids.include_last)
            if (lookup := self._lookup_of(feature, ids.values)) is not None:
                lookups[feature] = lookup
            else:
                vectors[feature] = or_nan(*self._look_up(feature, ids.values))
        for feature, flat in self._look_up_fused(lookups):
            vectors[feature] = flat.view(*given[feature].values.shape, *self._vector_shape(feature))
        found: dict[str, Tensor] = {}
        for feature, ids in read.items():
            for output, each in self._named(feature, vectors[feature]).items():
                found[output] = like(each, ids.values) if is_nested(ids.values) else each
        return found


class EmbeddingBagCollection(_Collection):
    """Many features, read together, one vector a bag: `{feature: bags}` → `{feature: pooled vectors}`.

    A bag is composed per id first and pooled second. The bags of a feature are given as

    * `(values, offsets)` or `(values, offsets, weights)`: 1-D ids, where each bag begins, a factor for each id
      (mode `"sum"`); offsets may end with the number of ids, as TorchRec's do, if `include_last_offset`;
    * dense ids: a tensor `(bags, ids in each)`, or `(bags,)` for one id each;
    * one id a bag of all features at once: a tensor `(features, bags)` in place of the mapping, its rows in the order
      of `features`;
    * a TorchRec `JaggedTensor`, as `to_dict()` of a `KeyedJaggedTensor` has them;
    * all features at once as a TorchRec `KeyedJaggedTensor` (recognised by its methods; TorchRec need not be
      installed). It may hold features of other collections, and vectors come in the order of `features`, whatever the
      order of its keys. Bags that it holds once (`inverse_indices`) are repeated as it says. Its weights count wherever
      it has them, without TorchRec's `is_weighted`; only mode `"sum"` takes weights.

    Args:
        tables, features, full_below, orders, device: as for `EmbeddingCollection`.
        mode: `"sum"`, `"mean"` or `"max"`; or one for each feature, by name.
        include_last_offset: whether given offsets end with the number of ids.

    Raises:
        InputError: unknown tables or features, two tables that share an array and do not agree on it, wrong bags.

    Example:
        >>> tables = [(Table("movie", 20, 4), "full"), (Table("genre", 5, 4), "full")]
        >>> bags = EmbeddingBagCollection(tables, {"seen": "movie", "liked": "movie", "genre": "genre"})
        >>> found = bags({
        ...     "seen": (torch.tensor([1, 2, 3]), torch.tensor([0, 2])),
        ...     "liked": torch.tensor([[1, 2], [3, 4]]),
        ...     "genre": torch.tensor([0, 4]),
        ... })
        >>> {name: tuple(vectors.shape) for name, vectors in found.items()}
        {'seen': (2, 4), 'liked': (2, 4), 'genre': (2, 4)}
    """

    def __init__(
        self,
        tables: Iterable[tuple[Table, MethodLike]],
        features: Mapping[str, str] | None = None,
        *,
        mode: Mode | Mapping[str, Mode] = "sum",
        include_last_offset: bool = False,
        **options: Any,
    ) -> None:
        super().__init__(tables, features, **options)
        modes = mode if isinstance(mode, Mapping) else dict.fromkeys(self.features, mode)
        for feature in modes:
            if feature not in self.features:
                raise unknown("feature with a mode", feature, self.features)
        self.modes = {feature: checked_mode(modes.get(feature, "sum")) for feature in self.features}
        self._has_max = "max" in self.modes.values()
        self.include_last_offset = include_last_offset

    def forward(self, features: Mapping[str, FeatureIds] | Any) -> dict[str, Tensor]:
        """Pooled vectors by feature, of shape `(bags, embedding_dim)`, for those features that are given."""
        if isinstance(features, Tensor):
            self._check_matrix(features)
            features = dict(zip(self.features, features, strict=True))
        if not self._has_max and (together := self._one_each(features, False)) is not None:
            return dict(zip(features, together, strict=True))
        found: dict[str, Tensor] = {}
        lookups, alone, inverse, order = self._asked(features)
        for feature, (bags, weights) in alone.items():
            vectors, inside = self._look_up(feature, bags.ids)
            pooled = pool(vectors, bags, self.modes[feature], weights=weights, inside=inside)
            found |= self._named(feature, expanded(feature, pooled, inverse.get(feature)))
        for feature, vectors in self._look_up_fused(lookups):
            if vectors.dim() == 2 and not inverse:
                found[feature] = vectors
            else:
                found |= self._named(feature, expanded(feature, vectors, inverse.get(feature)))
        if not lookups or not alone:
            return found
        asked = (output for feature in order for output in self.outputs(feature))
        return {output: found[output] for output in asked}

    def concatenated(self, features: Mapping[str, FeatureIds] | Any) -> Tensor:
        """The same vectors side by side, shape `(bags, sum of their dims)`: those of a mapping in the order in which it
        gives them, and of a `KeyedJaggedTensor` all, in the order of `features`. All features have the same number of
        bags. Where an optimizer of coset owns all tables, nothing is copied.

        Raises:
            InputError: as `forward`; no feature, a `KeyedJaggedTensor` without one of them, different numbers of bags.
        """
        if isinstance(features, Tensor):
            self._check_matrix(features)
            engine = self._kernels
            if engine is not None and len(engine.numbers) == len(self.features) and not self._has_max:
                return engine.look_up(features.contiguous(), joined=True)
            features = dict(zip(self.features, features, strict=True))
        if not self._has_max and (together := self._one_each(features, True)) is not None:
            return together  # type: ignore[no-any-return]
        if not isinstance(features, Mapping):
            check_whole(features, self.features)
        lookups, alone, inverse, _ = self._asked(features)
        if not lookups and not alone:
            raise InputError("there are no features to concatenate")
        if alone or inverse:
            found = list(self(features).values())
            if not torch.compiler.is_compiling():  # `len` would make it a constant of the graph
                _check_bags(map(len, found))
            return torch.cat(found, dim=-1)
        _check_bags(lookup.bags for lookup in lookups.values())
        engine = self._kernels
        return (self._by_torch if engine is None else engine.look_up)(list(lookups.values()), True)

    def _check_matrix(self, ids: Tensor) -> None:
        """Raise unless this is a matrix of ids with a row for every feature."""
        if ids.dim() != 2 or ids.shape[0] != len(self.features):
            raise InputError(
                f"ids of all features are a matrix ({len(self.features)} features, bags), not of shape "
                f"{tuple(ids.shape)}"
            )
        if (table := next(iter(self._table_of.values()), None)) is not None:
            check_type(table, ids)

    def _asked(
        self, features: Mapping[str, FeatureIds] | Any
    ) -> tuple[dict[str, Lookup], dict[str, tuple[Bags, Tensor | None]], dict[str, Tensor], list[str]]:
        """What kernels look up and pool; the bags and weights of the other features; the inverse indices of bags; and
        all features in order."""
        lookups: dict[str, Lookup] = {}
        inverse: dict[str, Tensor] = {}
        alone: dict[str, tuple[Bags, Tensor | None]] = {}
        numbers, checks = ({}, False) if (engine := self._kernels) is None else (engine.numbers, engine.checks_bags)
        given = features if isinstance(features, Mapping) else read_features(features, self.features)
        for feature, of in given.items():
            table, number = self._table(feature), numbers.get(feature)
            mode = self.modes[feature]
            if number is not None and isinstance(of, Tensor) and of.dim() == 1 and mode != "max":
                check_type(table, of)  # one id a bag: by far the most frequent case, and the shortest way
                lookups[feature] = Lookup(number, of.contiguous())
                continue
            if checks and number is not None and mode != "max" and type(of) is tuple and _are_bags(of):
                is_open = not self.include_last_offset
                lookups[feature] = Lookup(number, of[0], of[1], None, mode == "mean", is_open)
                continue
            ids = of if isinstance(of, FeatureValues) else read_feature(feature, of, self.include_last_offset)
            if ids.inverse is not None:
                inverse[feature] = ids.inverse
            if is_nested(ids.values):
                ids = FeatureValues(*bags_within(table, ids.values), None, include_last=True)
            values = ids.values.unsqueeze(-1) if ids.offsets is None and ids.values.dim() == 1 else ids.values
            bags = read_bags(table, values, ids.offsets, ids.include_last)
            check_weights(table, mode, bags.ids, ids.weights)
            if number is None or mode == "max" or (ids.weights is not None and ids.weights.requires_grad):
                alone[feature] = bags, ids.weights
            else:
                check_type(table, values)
                lookups[feature] = self._lookup(feature, number, bags, ids.weights)
        return lookups, alone, inverse, list(given)

    def _lookup(self, feature: str, number: int, bags: Bags, weights: Tensor | None) -> Lookup:
        engine, mean = self._kernels, self.modes[feature] == "mean"
        if engine is None or engine.checks_bags:
            weights = None if weights is None else weights.detach().reshape(-1)
            is_open = not bags.include_last
            return Lookup(number, bags.ids.contiguous(), bags.offsets.contiguous(), weights, mean, is_open)
        # A copy, as of the weights: backward reads both again, and the caller may have changed them by then.
        bounds = closed(bags.offsets, bags.ids.shape[0], bags.include_last)
        if weights is not None:
            weights = weights.detach().reshape(-1).to(engine.dtype, copy=True).contiguous()
        return Lookup(number, bags.ids.contiguous(), bounds, weights, mean)


def _are_bags(given: tuple[Any, ...]) -> bool:
    """Whether these are ids and offsets as an engine checks them: plain tensors in one dimension, of some bags."""
    return len(given) == 2 and all(
        type(each) is Tensor and each.dtype is torch.int64 and each.dim() == 1 and each.is_cpu and each.is_contiguous()
        for each in given
    ) and given[1].shape[0] > 1  # fmt: skip


def _check_bags(counts: Iterable[int]) -> None:
    """Raise unless these numbers of bags are equal."""
    if len(distinct := set(counts)) > 1:
        raise InputError(f"features to concatenate have the same number of bags, not {sorted(distinct)}")


def _shared(modules: Iterable[TableModule]) -> dict[str, nn.Module]:
    """The arrays that several tables hold in common, by name. Takes them out of the modules, which keep a reference
    outside of their state, so that each array is counted, saved and trained once."""
    pool: dict[str, nn.Module] = {}
    first: dict[str, TableModule] = {}
    seen: set[tuple[str, Method]] = set()
    inner = [each for module in modules for each in module.modules() if isinstance(each, TableModule)]
    for module in inner:
        if module.shareable() and (module.table.name, module.method) in seen:
            raise InputError(
                f"table {module.table.name!r}: two blocks read the array of {module.method} at the same places, so ids "
                f"of both would have one vector; give them different seeds"
            )
        seen.add((module.table.name, module.method))
        for attribute, name in module.shareable().items():
            own = module._modules.pop(attribute)
            assert own is not None
            kept, other = pool.setdefault(name, own), first.setdefault(name, module)
            sides = []
            for array, of in ((kept, other), (own, module)):
                shapes = [tuple(value.shape) for value in array.state_dict().values()]
                sides.append(f"{shapes}, {of.table.std:g}, {of.table.dtype}, {of.method.storage}")
            if sides[0] != sides[1]:
                raise InputError(
                    f"tables {other.table.name!r} and {module.table.name!r} share the array {name!r}, but differ in "
                    f"its size, std, dtype or storage: {sides[0]} and {sides[1]}"
                )
            object.__setattr__(module, attribute, kept)  # not by nn.Module, which would make it a part of the state
    return pool
