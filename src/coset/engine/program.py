"""`Program`: row-composed tables as the numbers that kernels read.

Tables of any method become pieces (one composition each, blocks included), parts, arrays and uses; the columns of
these matrices are those of `coset.kernels.layout`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from coset.engine.base import Lookup
from coset.engine.owners import LazyParameter, as_they_lie
from coset.errors import InputError
from coset.kernels import layout
from coset.methods.base import TableModule
from coset.methods.composition import (
    BlockedComposition,
    Composition,
    Projection,
    RowComposition,
    RowPart,
    codes_of,
)
from coset.methods.index import code_of
from coset.partitions import Codes, MultiplyShift, Partition, RowMap
from coset.storage import StoredRows
from coset.storage.base import Rounding

OPERATIONS = {"mult": layout.MULT, "add": layout.ADD, "concat": layout.CONCAT}
DTYPES: dict[torch.dtype, np.dtype[Any]] = {torch.float32: np.dtype(np.float32), torch.float64: np.dtype(np.float64)}
"""Types of numbers that kernels compute in."""
NARROW = {torch.bfloat16: layout.BFLOAT16, torch.float16: layout.FLOAT16}
"""Types of 16 bits that they store rows in."""
FORMS = "dense", "masters", "codes"
"""The forms of a stored array that they know."""
_KEPT = 64
"""How many shapes of calls are remembered."""


@dataclass(frozen=True)
class Shape:
    """What calls with the same features and numbers of ids have in common.

    Args:
        features: a matrix of all features that asks for so many ids, one id a bag.
        asked: the numbers of those features.
        dims: elements of a vector of each.
        ids: how many, of all.
        tasks: of sums, and their uses; how they are cut depends on nothing else.
    """

    features: np.ndarray
    asked: np.ndarray
    dims: np.ndarray
    ids: int
    tasks: np.ndarray
    uses: np.ndarray

    @cached_property
    def lines(self) -> np.ndarray | slice:
        """`asked`, as numpy is fastest to take it."""
        whole = len(self.asked) == len(self.features) and bool((np.diff(self.asked) > 0).all())
        return slice(None) if whole else self.asked

    @cached_property
    def columns(self) -> np.ndarray:
        """Where the vectors of each feature begin, where they stand side by side."""
        begin: np.ndarray = np.cumsum(self.dims) - self.dims
        return begin


class Frame(NamedTuple):
    """A matrix of features that asks for something, and the shape of the call."""

    features: np.ndarray
    shape: Shape


def fusable(module: TableModule) -> bool:
    """Whether kernels can look up and train this table: rows composed, on the CPU, in a type that they compute in."""
    return unfit(module) is None


def unfit(module: TableModule) -> str | None:
    """Why kernels cannot look up and train this table, as a phrase that follows its name; None where they can."""
    of = _descriptor(module)
    if of is None:
        blocks = [each for each in module.modules() if each is not module and isinstance(each, TableModule)]
        wrong = [block.method.name for block in blocks if _descriptor(block) is None]
        innermost = f" has a block of {wrong[-1]!r}, which" if wrong else ""
        return f"method {module.method.name!r}{innermost} is not composed of rows"
    names = [name for _, _, piece in flat(of, 0, module.table.num_embeddings) for name in _names(piece)]
    arrays = [_stored(module, name) for name in names]
    for stored in arrays:
        view = stored.kernel_view()
        if view is None or view.form not in FORMS:
            return f"kernels do not train {stored.left_by_kernels}"
        if not view.trained:
            return "it is packed, and its codes are not trained; coset.unpack_ brings it back to floats that are"
        p = _held(stored, view.array)
        if p is None:
            return "a parametrization computes its weight, or took its place"
        if type(p) not in (nn.Parameter, LazyParameter, *([Tensor] if view.coding else [])):
            return f"its weight is a {type(p).__name__}, whose memory kernels cannot read"
        if p.device.type != "cpu":
            return f"it is on {p.device}, not on the CPU"
        if stored.dtype not in DTYPES:
            return f"it is of {str(stored.dtype)[6:]}, not float32 or float64"
        if p.dtype != stored.dtype and p.dtype not in NARROW and view.coding is None:
            return f"it is stored in {str(p.dtype)[6:]}, not in bfloat16, float16 or {str(stored.dtype)[6:]}"
        if p.layout != torch.strided or not p.is_contiguous():
            return "its weight is not contiguous"
        if p.numel() and not p.data_ptr():
            return "its weight has no memory"
        if not p.requires_grad and view.coding is None:  # kernels train all that they read
            return "it is frozen by requires_grad=False"
    return None if len({stored.dtype for stored in arrays}) == 1 else "its arrays are of two types"


def _names(of: RowComposition) -> list[str]:
    """Those of all its arrays."""
    projection = of.projection
    rest = [] if projection is None else [projection.name, *([projection.bias_name] if projection.bias_name else [])]
    return [*(part.name for part in of.parts), *rest]


def _held(stored: StoredRows, name: str) -> Tensor | None:
    """The parameter or buffer of this name, if there is one."""
    return stored._parameters.get(name, stored._buffers.get(name))


def _stored(module: nn.Module, name: str) -> StoredRows:
    """The array of this name."""
    return module.get_submodule(name)  # type: ignore[return-value]


class Program:
    """Tables and the features that read them.

    Args:
        modules: the tables by name; all of one dtype, each `fusable`.
        features: feature → table.
        holder: where the modules stand, if that is to be watched.
    """

    def __init__(
        self, modules: Mapping[str, TableModule], features: Mapping[str, str], holder: dict[str, Any] | None = None
    ) -> None:
        self.modules, self.features = dict(modules), dict(features)
        self.numbers = {feature: number for number, feature in enumerate(self.features)}
        self.parameters: list[Tensor] = []
        """The arrays that kernels train, codes among them; the steps of rounded floats follow these."""
        self.stored: list[StoredRows] = []
        self.shapes: list[tuple[int, ...]] = []
        """What an optimizer keeps a number for, of each array."""
        self.types: list[tuple[torch.dtype, torch.dtype]] = []
        """The types that each array is read in and stored in."""
        self.rounded: dict[int, int] = {}
        """Arrays of floats that are rounded when they are read, and those of the logarithms of their steps."""
        self._steps_of_rows: dict[int, Tensor] = {}
        """The logarithms of the steps of arrays of codes."""
        self._levels: dict[int, np.ndarray] = {}
        """See `layout.LEVELS`."""
        self._lines: list[list[int]] = []
        self.computed = torch.float32
        """The type of vectors, and that kernels compute in."""
        self._places: list[tuple[str, dict[str, Any], str, Any]] = []
        """For every table, the places of its modules and parameters, and the objects that were there."""
        self._codes: list[tuple[int, nn.Module, str]] = []
        self._array_of: dict[int, int] = {}
        self._pieces: list[list[int]] = []
        self._parts: list[list[int]] = []
        first: dict[str, tuple[int, int]] = {}
        for name, module in self.modules.items():
            if holder is not None:
                self._places.append((name, holder, name, module))
            start, partial = len(self._pieces), 0
            for begin, end, composition in flat(_descriptor(module), 0, module.table.num_embeddings):
                partial = self._add_piece(module, begin, end, composition, partial)
            first[name] = start, len(self._pieces) - start
        self.dtype: np.dtype[Any] = DTYPES[self.computed]
        self.pieces = np.array(self._pieces, np.int64)
        self.parts = np.array(self._parts, np.int64)
        self.arrays = np.array(self._lines, np.int64)
        self._are_rounded = [(number, self.stored[number]) for number in self.rounded]
        self.widest_rounded = max((int(self.arrays[a, layout.ARRAY_WIDTH]) for a in self.rounded), default=0)
        self.most_parts = int(self.pieces[:, layout.PARTS].max())
        self.several = bool(max(count for _, count in first.values()) > 1)
        projected = self.pieces[:, layout.PROJECTION] >= 0
        self.widest_projected = int(self.pieces[projected, layout.WIDTH].max(initial=0))
        self.template = self._template(first)
        self._orders = [
            (number, self.modules[name])
            for number, name in enumerate(self.features.values())
            if isinstance(getattr(self.modules[name], "order", None), Tensor)
        ]
        self._kinds = [_kind_of(index) for index in self._indices()]
        self._uses = self._find_uses(first)
        self._as_taken = [tuple(parameter.shape) for parameter in self.parameters]
        self._shapes: dict[tuple[tuple[int, ...], tuple[int, ...]], Shape] = {}
        self._found: tuple[list[int], np.ndarray] = [], self.arrays

    @property
    def steps(self) -> list[Tensor]:
        """The logarithms of the steps of rounded floats, among the arrays."""
        return [self.parameters[number] for number in self.rounded.values()]

    def addresses(self, tables: Sequence[Tensor] | None = None) -> np.ndarray:
        """The arrays, with where they are now, since a module may have been moved; or with where `tables` are. The
        same array as before, not to be changed, where nothing was moved."""
        with as_they_lie():
            places = [table.data_ptr() for table in (tables or self.parameters)]
        indices = [index.data_ptr() for index in self._indices()]
        indices += [steps.data_ptr() for steps in self._steps_of_rows.values()]
        indices += [stored.rounds for _, stored in self._are_rounded]
        for (part, *_), place in zip(self._codes, indices, strict=False):
            self.parts[part, layout.FIRST] = place
        before, arrays = self._found
        if places + indices != before:
            arrays = self.arrays.copy()
            arrays[:, layout.ADDRESS] = places
            for array, steps in self._steps_of_rows.items():
                arrays[array, layout.SCALES] = steps.data_ptr()
            for array, stored in self._are_rounded:
                arrays[array, layout.SCALES] = places[self.rounded[array]]
                arrays[array, layout.STORED] = layout.ROUNDED if stored.rounds else layout.WIDE
            if tables is None:
                self._found = places + indices, arrays
        return arrays

    def check_places(self) -> None:
        """Raise an `InputError` where a module or parameter is another object than it was."""
        for table, holder, name, kept in self._places:
            if holder.get(name) is not kept:
                raise InputError(
                    f"table {table!r}: its {name!r} was replaced (by assignment, functional_call, a parametrization, "
                    f"fully_shard …) after an optimizer took it over, which would go on training the old one; copy "
                    f"values into it with copy_, or call the optimizer's release() first and make one anew"
                )

    def _indices(self) -> list[Tensor]:
        """The columns of codes, then the orders, as the modules have them now."""
        codes = (of.get_buffer(name) for _, of, name in self._codes)
        return [*codes, *(of.get_buffer("order") for _, of in self._orders)]

    def check(self) -> None:
        """Raise an `InputError` where kernels would read or write beyond an array: after values were put in place of
        those that the program was made of."""
        for parameter, shape in zip(self.parameters, self._as_taken, strict=True):
            if parameter.numel() and not parameter.data_ptr():
                raise InputError(f"tables {list(self.modules)}: an array has no memory any more")
            if not parameter.is_contiguous() or tuple(parameter.shape) != shape:
                raise InputError(
                    f"tables {list(self.modules)}: an array of shape {shape} was replaced by one of shape "
                    f"{tuple(parameter.shape)}, strides {parameter.stride()}; copy values into it with copy_"
                )
        found = self._indices()
        if [_kind_of(index) for index in found] != self._kinds:
            raise InputError(
                f"tables {list(self.modules)}: an index (order or codes) was replaced by one of another shape, type or "
                f"device; copy values into it with copy_"
            )
        codes = [
            (code_of(each, torch.arange(len(each))), int(self.arrays[self.parts[part, layout.ARRAY], 1]))
            for (part, *_), each in zip(self._codes, found, strict=False)
        ]
        for index, rows in (*codes, *((order, len(order)) for order in found[len(codes) :])):
            low, high = (int(bound) for bound in index.aminmax()) if index.numel() else (0, 0)
            if low < 0 or high >= rows:
                raise InputError(
                    f"tables {list(self.modules)}: an index (order or codes) holds {low if low < 0 else high}, its "
                    f"rows are 0 … {rows - 1}"
                )

    def prepare(self, lookups: Sequence[Lookup]) -> Frame:
        """What asks for `lookups`."""
        for lookup in lookups:
            _check_device(lookup.values, lookup.offsets, lookup.weights)
        frame = self.frame(
            tuple(lookup.feature for lookup in lookups), tuple(lookup.values.shape[0] for lookup in lookups)
        )
        features = frame.features
        features[frame.shape.lines, layout.VALUES] = [lookup.values.data_ptr() for lookup in lookups]
        for feature, values, offsets, weights, mean, _ in lookups:
            if offsets is not None:
                features[feature, layout.OFFSETS] = offsets.data_ptr()
                features[feature, layout.BAGS] = offsets.shape[0] - 1
                features[feature, layout.MEAN] = mean
            if weights is not None:
                features[feature, layout.WEIGHTS] = weights.data_ptr()
            if values.dtype == torch.int32:
                features[feature, layout.NARROW_IDS] = 1
        return frame

    def prepare_matrix(self, ids: Tensor) -> Frame:
        """What asks for one id a bag of every feature, a contiguous matrix of shape `(features, bags)`."""
        _check_device(ids)
        features, bags = ids.shape
        frame = self.frame(tuple(range(features)), (bags,) * features)
        frame.features[:, layout.VALUES] = frame.shape.asked * (ids.element_size() * bags) + ids.data_ptr()
        if ids.dtype == torch.int32:
            frame.features[:, layout.NARROW_IDS] = 1
        return frame

    def frame(self, asked: tuple[int, ...], counts: tuple[int, ...]) -> Frame:
        """A frame for so many ids of these features, one id a bag."""
        shape = self._shapes.get((asked, counts))  # looked up once: another thread may clear them
        if shape is None:
            if len(self._shapes) >= _KEPT:
                self._shapes.clear()
            shape = self._shapes[asked, counts] = self._shape(asked, counts)
        features = shape.features.copy()
        for feature, module in self._orders:
            features[feature, layout.ORDER] = module.order.data_ptr()  # type: ignore[operator]
        return Frame(features, shape)

    def _shape(self, asked: tuple[int, ...], counts: tuple[int, ...]) -> Shape:
        numbers, lengths = np.array(asked, np.int64), np.array(counts, np.int64)
        features = self.template.copy()
        features[numbers, layout.COUNT] = features[numbers, layout.BAGS] = lengths
        features[numbers, layout.SPACE] = lengths.cumsum() - lengths
        tasks = self._cut(tuple(features[:, layout.COUNT].tolist()))
        return Shape(features, numbers, features[numbers, layout.DIM], int(lengths.sum()), *tasks)

    def _cut(self, counts: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        tasks: list[list[int]] = []
        uses: list[list[int]] = []
        per_array = {}
        for array, found in self._uses.items():
            asked = [use for use in found if counts[use[layout.USE_FEATURE]]]
            if asked and asked[0][layout.USE_PART] == layout.AS_STEPS:
                per_array[array] = asked, 0
            elif asked:
                per_array[array] = asked, sum(counts[use[layout.USE_FEATURE]] for use in asked)
        total = sum(count for _, count in per_array.values())
        for array, (asked, count) in per_array.items():
            projection = asked[0][layout.USE_PART] < 0
            chunks = 1 if projection else layout.chunks_of(count, total, int(self.arrays[array, layout.ROWS]))
            tasks += [[array, number, chunks, 0, 0, len(uses), len(asked)] for number in range(chunks)]
            uses += asked
        shape = (-1, layout.TASK_COLUMNS), (-1, layout.USE_COLUMNS)
        return np.array(tasks, np.int64).reshape(shape[0]), np.array(uses, np.int64).reshape(shape[1])

    def _add_piece(self, module: TableModule, start: int, stop: int, of: RowComposition, partial: int) -> int:
        projection = of.projection
        matrix = bias = -1
        if projection is not None:
            matrix = self._array(module, projection.name)
            bias = -1 if projection.bias_name is None else self._array(module, projection.bias_name)
        self._pieces.append([start, stop, OPERATIONS[of.operation], len(of.parts), len(self._parts), of.width, of.dim,
                             matrix, bias, partial])  # fmt: skip
        column = 0
        for part in of.parts:
            kind = self._kind(module, part, stop - start)
            array = self._array(module, part.name)
            self._parts.append([array, part.width, column if of.operation == "concat" else 0, *kind])
            column += part.width
        return partial + _partial_numbers(of, projection)

    def _kind(self, module: TableModule, part: RowPart, ids: int) -> list[int]:
        codes = None
        if isinstance(part.partition, Codes):
            path, _, name = codes_of(part.name).rpartition(".")
            holder = module.get_submodule(path)
            codes = holder.get_buffer(name)
            self._codes.append((len(self._parts), holder, name))
        elif not isinstance(part.partition, (Partition, MultiplyShift)):
            raise InputError(f"table {module.table.name!r}: kernels know no rows of {part.partition!r}")
        return line_of(part.partition, ids, codes)

    def _array(self, module: TableModule, name: str) -> int:
        stored, at = _stored(module, name), module
        for step in name.split("."):
            inner = at.get_submodule(step)
            self._places.append((module.table.name, at._modules, step, inner))
            at = inner  # type: ignore[assignment]
        view = stored.kernel_view()
        assert view is not None
        parameter, self.computed = self._watched(module, stored, view.array), stored.dtype
        steps = None
        if (of_steps := view.rounding or view.coding) is not None:
            steps = self._watched(module, stored, of_steps.scales)
        if id(parameter) not in self._array_of:
            number = self._array_of[id(parameter)] = len(self.parameters)
            self._add_array(stored, parameter, (stored.rows, stored.width), NARROW.get(parameter.dtype, layout.WIDE))
            if view.rounding is not None and steps is not None:
                self._add_rounding(number, view.rounding, steps)
            elif view.coding is not None and steps is not None:
                self._steps_of_rows[number] = steps
                self._lines[number][layout.STORED] = layout.BYTES
                self._lines[number][layout.SCALES_STORED] = NARROW.get(steps.dtype, layout.WIDE)
        return self._array_of[id(parameter)]

    def _watched(self, module: TableModule, stored: StoredRows, name: str) -> Tensor:
        """The parameter or buffer of this name, to be noticed where it is replaced."""
        holder = stored._parameters if name in stored._parameters else stored._buffers
        self._places.append((module.table.name, holder, name, holder[name]))
        found = holder[name]
        assert found is not None
        return found

    def _add_array(self, stored: StoredRows, parameter: Tensor, shape: tuple[int, ...], kind: int) -> None:
        self.parameters.append(parameter)
        self.stored.append(stored)
        self.shapes.append(shape)
        self.types.append((stored.dtype, parameter.dtype))
        rows, width = shape if len(shape) == 2 else (*shape, 1)
        self._lines.append([0, rows, width, kind] + [0] * (layout.ARRAY_COLUMNS - 4))

    def _add_rounding(self, array: int, of: Rounding, steps: Tensor) -> None:
        """Floats that are rounded, and their steps, which are an array of their own."""
        number = self.rounded[array] = len(self.parameters)
        self._add_array(self.stored[array], steps, tuple(steps.shape), layout.WIDE)
        tops = np.array(of.tops, DTYPES[self.computed])
        levels = self._levels[array] = np.stack([np.broadcast_to(tops / 2, self.shapes[array][1:]), np.ones_like(tops)])
        line = self._lines[array]
        line[layout.SCALES_STORED] = NARROW.get(of.stored, layout.WIDE)
        line[layout.IN_COMMON], line[layout.LEVELS] = of.in_common, levels.ctypes.data
        assert number == array + 1

    def _template(self, first: Mapping[str, tuple[int, int]]) -> np.ndarray:
        lines = np.zeros((len(self.features), layout.FEATURE_COLUMNS), np.int64)
        for line, name in zip(lines, self.features.values(), strict=True):
            table = self.modules[name].table
            line[layout.PIECE], line[layout.PIECES] = first[name]
            line[layout.IDS] = table.num_embeddings
            line[layout.DIM] = self.pieces[first[name][0], layout.OUT]
            line[layout.PROJECTED] = -1
        return lines

    def _find_uses(self, first: Mapping[str, tuple[int, int]]) -> dict[int, list[list[int]]]:
        uses: dict[int, list[list[int]]] = {}
        for number, name in enumerate(self.features.values()):
            start, count = first[name]
            for piece in range(start, start + count):
                of = self.pieces[piece]
                for part in range(of[layout.PARTS]):
                    array = int(self.parts[of[layout.PART] + part, layout.ARRAY])
                    uses.setdefault(array, []).append([array, number, piece, part])
                for column, role in ((layout.PROJECTION, layout.AS_PROJECTION), (layout.BIAS, layout.AS_BIAS)):
                    if of[column] >= 0:
                        uses.setdefault(int(of[column]), []).append([int(of[column]), number, piece, role])
        for array, steps in self.rounded.items():
            asked = dict.fromkeys(use[layout.USE_FEATURE] for use in uses[array])
            uses[steps] = [[steps, feature, array, layout.AS_STEPS] for feature in asked]
        return uses


def _kind_of(index: Tensor) -> tuple[Any, ...]:
    return tuple(index.shape), index.dtype, index.device, index.is_contiguous()


def _check_device(*given: Tensor | None) -> None:
    for tensor in given:
        if tensor is not None and not tensor.is_cpu:  # its address, if it has one, is none of this memory
            raise InputError(f"ids, offsets and weights are on the CPU, where the tables are, not on {tensor.device}")


def _descriptor(module: TableModule) -> Composition | None:
    return module.method.descriptor(module.table)


def flat(of: Composition | None, start: int, stop: int) -> Iterator[tuple[int, int, RowComposition]]:
    """The compositions of the blocks of a table, and of blocks within them, each with its range of ids."""
    if isinstance(of, RowComposition):
        yield start, stop, of
    elif isinstance(of, BlockedComposition):
        edges = [start, *(start + bound for bound in of.bounds), stop]
        for (begin, end), block in zip(pairwise(edges), of.blocks, strict=True):
            yield from flat(block, begin, end)


def line_of(partition: RowMap, ids: int, codes: Tensor | None) -> list[int]:
    """How a part picks the rows of so many ids, as kernels take it; `codes` is the column of those of `Codes`."""
    if codes is not None:
        return [layout.CODES, codes.data_ptr(), codes.element_size() * codes[0].numel(), 0]
    if isinstance(partition, MultiplyShift):
        return [layout.HASH, *partition.keys, partition.modulus]
    assert isinstance(partition, Partition)
    if partition.is_identity(ids):
        return [layout.IDENTITY, 1, ids, 0]
    return [layout.ARITHMETIC, partition.divisor, partition.modulus, 0]


def _partial_numbers(of: RowComposition, projection: Projection | None) -> int:
    """Numbers that sum up the gradient of a projection: how many ids, the matrix, the bias."""
    return 0 if projection is None else 1 + (of.width + projection.bias) * of.dim
