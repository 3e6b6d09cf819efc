"""`Program`: row-composed tables as the numbers that kernels read.

Tables of any method become pieces (one composition each, blocks included), parts, arrays and uses; the columns of
these matrices are those of `coset.kernels.layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import is_
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from coset.engine.composed import DTYPES, NARROW, OPERATIONS, composition_of, flat, line_of, stored_of
from coset.engine.frames import Frames
from coset.engine.owners import as_they_lie
from coset.errors import InputError
from coset.kernels import layout
from coset.methods.base import TableModule
from coset.methods.composition import Projection, RowComposition, RowPart, codes_of
from coset.methods.index import code_of
from coset.partitions import Codes, MultiplyShift, Partition
from coset.storage import StoredRows
from coset.storage.base import Rounding


class Program:
    """Tables and the features that read them.

    Args:
        modules: the tables by name; all of one dtype, each `fusable`.
        features: feature → table.
        holder: the module in whose `tables` they stand, if that is to be watched.
    """

    def __init__(
        self, modules: Mapping[str, TableModule], features: Mapping[str, str], holder: nn.Module | None = None
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
                tables = holder.get_submodule("tables")
                self._places += [(name, holder._modules, "tables", tables), (name, tables._modules, name, module)]
            start, partial = len(self._pieces), 0
            for begin, end, composition in flat(composition_of(module), 0, module.table.num_embeddings):
                partial = self._add_piece(module, begin, end, composition, partial)
            first[name] = start, len(self._pieces) - start
        self._holders: list[dict[str, Any]] = [holder for _, holder, _, _ in self._places]
        self._keys = [name for _, _, name, _ in self._places]
        self._kept = [kept for _, _, _, kept in self._places]
        self.dtype: np.dtype[Any] = DTYPES[self.computed]
        self.pieces = np.array(self._pieces, np.int64)
        self.parts = np.array(self._parts, np.int64)
        self.arrays = np.array(self._lines, np.int64)
        self.narrow = bool(self.arrays[:, layout.STORED].any())
        """Whether an array may be stored in fewer bits than it is computed with."""
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
        self.frames = Frames(self.template, self._find_uses(first), self.arrays, self._orders)
        self._as_taken = [tuple(parameter.shape) for parameter in self.parameters]
        self._found: tuple[list[int], np.ndarray] = [], self.arrays

    @property
    def steps(self) -> list[Tensor]:
        """The logarithms of the steps of rounded floats, among the arrays."""
        return [self.parameters[number] for number in self.rounded.values()]

    def addresses(self, tables: Sequence[Tensor] | None = None) -> np.ndarray:
        """The arrays, with where they are now, since a module may have been moved; or with where `tables` are. The
        same array as before, not to be changed, where nothing was moved."""
        with as_they_lie():
            places = list(map(Tensor.data_ptr, tables or self.parameters))
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
        # Every call and every step asks, for hundreds of objects: in one pass that Python does not interpret.
        if all(map(is_, map(_get, self._holders, self._keys), self._kept)):
            return
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
        stored, at = stored_of(module, name), module
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
        line[layout.STORED], line[layout.SCALES_STORED] = layout.ROUNDED, NARROW.get(of.stored, layout.WIDE)
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


_get: Callable[[dict[str, Any], str], Any] = dict.get


def _kind_of(index: Tensor) -> tuple[Any, ...]:
    return tuple(index.shape), index.dtype, index.device, index.is_contiguous()


def _partial_numbers(of: RowComposition, projection: Projection | None) -> int:
    """Numbers that sum up the gradient of a projection: how many ids, the matrix, the bias."""
    return 0 if projection is None else 1 + (of.width + projection.bias) * of.dim
