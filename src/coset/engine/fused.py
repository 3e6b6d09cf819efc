"""`FusedEngine`: the tables of one collection, looked up and updated by kernels; and their gradients, summed by row."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from coset.engine import operators
from coset.engine.base import Lookup
from coset.engine.owners import Owner, as_they_lie
from coset.engine.program import Program
from coset.errors import InputError
from coset.kernels import layout, updates
from coset.kernels.launch import SMALL, exclusively, launch
from coset.kernels.opened import open_arrays
from coset.kernels.pool import Pool
from coset.kernels.projected import narrow_gradients
from coset.kernels.rounded import add_steps
from coset.kernels.rows import find_rows
from coset.kernels.share import none_taken
from coset.kernels.spaces import plan_sums
from coset.kernels.sums import add_gradients
from coset.kernels.vectors import look_up


@dataclass
class Gradients:
    """Sums of the gradients of every distinct row that was read.

    Args:
        tasks: one line for each share of the sums, see `coset.kernels.layout`.
        distinct: the rows; those of task t begin at its ROOM, `counts[t]` of them.
        sums: their gradients; those of task t begin at its SUMS.
        squares: sum of the squares of the sums of each task; not finite where a sum is not.
        square: sum of the squares of all.
    """

    tasks: np.ndarray
    distinct: np.ndarray
    sums: np.ndarray
    counts: np.ndarray
    squares: np.ndarray
    square: float = 0.0


class Steps(NamedTuple):
    """The steps of an optimizer, as kernels take them.

    Args:
        now: the last one, or the one that is being taken.
        begun: the one that all rows are brought to.
        numbers: see `coset.kernels.updates.numbers_of`.
        paces, roots, decays: what the steps after `begun` did to all rows alike, by group and step.
    """

    now: int
    begun: int
    numbers: np.ndarray
    paces: np.ndarray
    roots: np.ndarray
    decays: np.ndarray


class RowOwner(Owner, Protocol):
    """An optimizer whose tables kernels look up and update."""

    dense: bool
    version: int

    def behind(self) -> Steps | None:
        """The steps that rows may have missed; None where no row can be behind."""
        ...


class FusedEngine:
    """Looks up the features of a collection, and keeps the sums of their gradients until the optimizer's step.

    Args:
        program: the tables and features.
        optimizer: that owns the tables.
    """

    checks_bags = False

    def __init__(self, program: Program, optimizer: RowOwner) -> None:
        self.program, self.dense = program, optimizer.dense
        # A weak reference: Python frees reference cycles late, and tables are large.
        self._optimizer = weakref.ref(optimizer)
        self.pending: list[Gradients] = []
        self.states = np.zeros((len(program.parameters), layout.STATE_COLUMNS), np.int64)
        self.like = np.empty(0, program.dtype)
        self.anchor = torch.zeros((), dtype=program.computed, requires_grad=True)
        self.number = operators.number(self)
        self.dims: list[int] = program.template[:, layout.DIM].tolist()
        """Elements of a vector of each feature."""
        self.tables = self._as_they_lie()
        """The arrays as graphs take them: plain tensors of the same memory."""
        self.checked: np.ndarray | None = None
        """The arrays as they were when `check` last looked at them."""
        self.outputs, self.sums, self.widened = Pool(program.dtype), Pool(program.dtype), Pool(program.dtype)

    @property
    def optimizer(self) -> RowOwner:
        """The optimizer that owns the tables, as long as it or they are in use."""
        found = self._optimizer()
        if found is None:
            raise RuntimeError(f"tables {list(self.program.modules)} and their optimizer are no longer in use")
        return found

    @property
    def numbers(self) -> dict[str, int]:
        """The features, by name, with their numbers."""
        return self.program.numbers

    @property
    def dtype(self) -> torch.dtype:
        """The type of the vectors."""
        return self.anchor.dtype

    def look_up(self, asked: Sequence[Lookup] | Tensor, joined: bool) -> Tensor:
        """Vectors of all lookups in one tensor; see `coset.engine.base.Engine`."""
        if torch.compiler.is_compiling():
            lookups = [Lookup(at, ids) for at, ids in enumerate(asked)] if isinstance(asked, Tensor) else asked
            return operators.look_up(self, lookups, joined)
        if not torch.is_grad_enabled():
            return Call(self, asked, joined).vectors()
        return _LookUp.apply(self.anchor, Call(self, asked, joined))  # type: ignore[no-any-return, no-untyped-call]

    def one_each(self, given: dict[str, Any], joined: bool) -> None:
        """There is no shorter way."""

    def call(self, asked: Sequence[Lookup], joined: bool, tables: Sequence[Tensor]) -> Call:
        """A call that has not been made yet, of the arrays in `tables`: a graph may hand on copies."""
        return Call(self, asked, joined, tables)

    def apply(self, found: Gradients, arrays: np.ndarray, kind: int, rates: np.ndarray, steps: Steps) -> None:
        """Let all rows of `found` take the step `steps.now`."""
        launch(
            updates.apply, len(found.distinct), none_taken(), kind, arrays, self.states, found.tasks, found.distinct,
            found.sums, found.counts, steps.now, steps.begun, steps.numbers, rates, steps.paces, steps.roots,
            steps.decays,
        )  # fmt: skip

    def bring_all(self, arrays: np.ndarray, steps: Steps) -> None:
        """Bring every row to the last step."""
        launch(updates.bring_all, SMALL, arrays, self.states, *steps, self.like)

    def addresses(self) -> np.ndarray:
        """The current addresses of the arrays; kernels get no others, as they would read and write any memory.

        Raises:
            InputError: the tables are no longer what the optimizer took over.
        """
        self.program.check_places()
        return self.own_addresses()

    def own_addresses(self) -> np.ndarray:
        """The addresses of the arrays that the optimizer took over, even where others have replaced them."""
        arrays = self.program.addresses()
        if arrays is not self.checked:
            self.check()
        return arrays

    def check_graph(self) -> None:
        """Raise an `InputError` where a graph has memory that is no longer that of the tables."""
        before = self.tables
        self.addresses()
        if before is not self.tables:
            raise InputError(
                f"tables {list(self.program.modules)} have other memory than when they were last looked up; look them "
                f"up again"
            )

    def _as_they_lie(self) -> list[Tensor]:
        with as_they_lie():
            return [parameter.detach() for parameter in self.program.parameters]

    def forget_checks(self) -> None:
        """Check the tables again when they are next read: other values were loaded."""
        self.checked = None

    def check(self) -> None:
        """Raise an `InputError` where kernels cannot read the arrays any more."""
        for stored, parameter, kept in zip(
            self.program.stored, self.program.parameters, self.program.types, strict=True
        ):
            if stored.device.type != "cpu" or (stored.dtype, parameter.dtype) != kept:
                raise InputError(
                    f"tables {list(self.program.modules)} were moved to {stored.device} and {str(stored.dtype)[6:]} "
                    f"after an optimizer took them over; move a model first, then make its optimizers"
                )
        with as_they_lie():
            self.program.check()
        self.checked = self.program.addresses()
        if [table.data_ptr() for table in self.tables] != self.checked[:, layout.ADDRESS].tolist():
            self.tables = self._as_they_lie()


class Call:
    """One call of an engine: rows found, vectors composed, and in the end gradients summed."""

    def __init__(
        self,
        engine: FusedEngine,
        asked: Sequence[Lookup] | Tensor,
        joined: bool,
        tables: Sequence[Tensor] | None = None,
    ) -> None:
        self.engine, self.given, self.joined = engine, asked, joined  # what kernels read must live as long as this
        program = engine.program
        if tables is None:
            self.arrays = engine.addresses()
        else:
            engine.check_graph()
            self.arrays = program.addresses(tables)
        self.read = self.arrays
        """The arrays, with where kernels read those that a call widens as a whole."""
        frames = program.frames
        frame = frames.prepare_matrix(asked) if isinstance(asked, Tensor) else frames.prepare(asked)
        self.features, self.shape = frame
        self.rows = np.empty((program.most_parts, self.shape.ids), np.int64)
        self.piece_of = np.empty(self.shape.ids if program.several else 0, np.int32)
        self.version = engine.optimizer.version
        self._at = 0
        """Where the vectors or their gradients begin, in memory."""

    def vectors(self) -> Tensor:
        """The vectors of all lookups."""
        out = self._place()
        exclusively(self._read)  # no step of another thread between finding rows and reading them
        return out

    def find(self) -> None:
        """Find the rows of all ids, and bring them to the optimizer's last step."""
        exclusively(self._find)

    def _find(self) -> None:
        program = self.engine.program
        wrong = launch(
            find_rows, self.shape.ids, none_taken(), self.features, program.pieces, program.parts, self.rows,
            self.piece_of,
        )  # fmt: skip
        if any(wrong):
            raise self._out_of_range()
        if (steps := self.engine.optimizer.behind()) is not None:
            launch(
                updates.bring, self.shape.ids, none_taken(), self.shape.tasks, self.shape.uses, self.features,
                self.rows, self.piece_of, self.arrays, self.engine.states, *steps, self.engine.like,
            )  # fmt: skip
        self._open()

    def _open(self) -> None:
        """Make arrays ready that are stored in fewer bits."""
        if self.engine.program.narrow:
            self._widened = self.engine.widened.take(self.shape.widened)
            self.read = self.arrays.copy()
            launch(open_arrays, self.shape.ids, none_taken(), self.arrays, self.read, self.shape.whole, self._widened)

    def _read(self) -> None:
        engine, program = self.engine, self.engine.program
        finds = engine.optimizer.behind() is None  # one kernel does both where no row is brought up in between
        if finds:
            self._open()
        else:
            self._find()
        wrong = launch(
            look_up, self.shape.ids, none_taken(), finds, self.features, program.pieces, program.parts, self.read,
            self.rows, self.piece_of, engine.like,
        )  # fmt: skip
        if any(wrong):
            raise self._out_of_range()

    def add(self, gradient: Tensor) -> None:
        """Sum the gradient of the vectors by row, and hand the sums to the engine."""
        engine, program = self.engine, self.engine.program
        if engine.optimizer.version != self.version:
            raise RuntimeError(
                f"tables {list(program.modules)}: the optimizer has changed them since these vectors were looked up; "
                f"call backward before step"
            )
        gradient = gradient.contiguous()
        self._move(gradient.data_ptr())
        tasks, uses = self.shape.tasks.copy(), self.shape.uses
        projected, distinct, sums = plan_sums(
            self.features, program.pieces, tasks, uses, self.arrays, self.rows, self.piece_of
        )
        ids = self.shape.ids if projected else 0
        found = Gradients(
            tasks, np.empty(distinct, np.int64), engine.sums.take(sums, sums // 8), np.zeros(len(tasks), np.int64),
            np.zeros(len(tasks)),
        )  # fmt: skip
        narrowed = np.empty((ids, program.widest_projected), program.dtype)
        partials = np.empty(projected, program.dtype)
        of_steps = np.zeros((len(tasks), program.widest_rounded))
        exclusively(self._add, found, uses, narrowed, partials, of_steps)
        engine.pending.append(found)

    def _add(
        self, found: Gradients, uses: np.ndarray, narrowed: np.ndarray, partials: np.ndarray, of_steps: np.ndarray
    ) -> None:
        program = self.engine.program
        if len(partials):
            launch(
                narrow_gradients, self.shape.ids, none_taken(), self.features, program.pieces, program.parts,
                self.read, self.rows, self.piece_of, narrowed, partials,
            )  # fmt: skip
        launch(
            add_gradients, self.shape.ids, none_taken(), self.features, program.pieces, program.parts, self.arrays,
            self.read, found.tasks, uses, self.rows, self.piece_of, narrowed, partials, of_steps, found.distinct,
            found.sums, found.counts, found.squares,
        )  # fmt: skip
        if program.rounded:
            add_steps(self.arrays, found.tasks, uses, of_steps, found.distinct, found.sums, found.counts, found.squares)
        found.square = _in_order(found.squares)

    def _move(self, address: int) -> None:
        """Point the features to their gradients at `address`, laid out as their vectors were."""
        if not self._at:  # a graph sums gradients of vectors that another call has looked up
            self._place()
        self.features[self.shape.lines, layout.VECTORS] += address - self._at
        self._at = address

    def _place(self) -> Tensor:
        """Memory for the vectors, to which the features point."""
        shape, features = self.shape, self.features
        if self.joined:
            begin, total, height = shape.columns, shape.width, int(features[shape.asked[0], layout.BAGS])
        else:
            sizes = shape.dims * features[shape.lines, layout.BAGS]
            begin, total, height = sizes.cumsum() - sizes, int(sizes.sum()), 1
        found = self.engine.outputs.take(height * total)
        tensor = torch.from_numpy(found.reshape(height, total) if self.joined else found)
        self._at = tensor.data_ptr()
        features[shape.lines, layout.VECTORS] = begin * tensor.element_size() + self._at
        features[shape.lines, layout.STRIDE] = total if self.joined else shape.dims
        return tensor

    def _out_of_range(self) -> IndexError:
        """The error that plain lookups raise: about the first feature, as they are given, that has such an id."""
        program, given = self.engine.program, self.given
        tables = [program.modules[name].table for name in program.features.values()]
        asked = enumerate(given) if isinstance(given, Tensor) else ((of.feature, of.values) for of in given)
        bounds = ((tables[feature], *ids.aminmax()) for feature, ids in asked if ids.numel())
        table, low, high = next(found for found in bounds if found[1] < 0 or found[2] >= found[0].num_embeddings)
        wrong = int(low if low < 0 else high)
        return IndexError(
            f"table {table.name!r}: id {wrong} is out of range, its ids are 0 … {table.num_embeddings - 1}"
        )


def _in_order(squares: np.ndarray) -> float:
    """The sum, task by task: `sum` and NumPy's own have other orders, which depend on their versions."""
    return float(np.add.accumulate(squares)[-1]) if len(squares) else 0.0


class _LookUp(torch.autograd.Function):
    """Vectors by kernels; backward leaves sums with the engine, and no gradient with any parameter."""

    @staticmethod
    def forward(context: Any, anchor: Tensor, call: Call) -> Tensor:
        context.call = call
        return call.vectors()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[None, None]:
        if torch.is_grad_enabled():
            raise RuntimeError("lookups by kernels have no second derivative: leave create_graph out")
        context.call.add(gradient)
        return None, None
