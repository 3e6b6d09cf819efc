"""Some columns of many bags, each summed in registers: the inner loops of lookups, as LLVM's vectors.

Numba keeps sums of many columns in memory, since it does not know how many there are. Here their number is a constant
of each loop, so that the sums of up to 64 columns stay in registers until the bag ends. And numba takes longer to
compile one loop than LLVM takes for several of these.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic

from coset.kernels.layout import BFLOAT16, BYTES, FLOAT16, NIBBLES, WIDE

AHEAD = 40
"""How many ids ahead of the one at work memory is asked for."""
_LINE = 64
"""Bytes of a cache line."""

_I64, _I32, _I16, _I8, _BIT = (ir.IntType(bits) for bits in (64, 32, 16, 8, 1))

Vector = Any
"""A value of LLVM."""


class Asked(NamedTuple):
    """What a loop is given, all of it whole numbers.

    Args:
        start, stop: the bags.
        offsets: the address of the place where each bag begins among the ids.
        bounds: how many offsets there are; 0 where every id is a bag of its own.
        count: how many ids there are.
        mean: whether bags are averaged.
        ids: the address of the ids, int64, which are numbers of rows.
        rows: how many rows there are.
        table: the address of the first of the columns in row 0.
        stride: bytes from one row to the next.
        weights: the address of the factor of the first id.
        step: bytes from one factor to the next; 0 where all have one.
        out: the address of the first of the columns of bag 0.
        apart: bytes from one bag to the next.
        tops: the address of the level of code 0, turned to positive, of each column.
        steps: the address of the step of each column.
    """

    start: Any
    stop: Any
    offsets: Any
    bounds: Any
    count: Any
    mean: Any
    ids: Any
    rows: Any
    table: Any
    stride: Any
    weights: Any
    step: Any
    out: Any
    apart: Any
    tops: Any
    steps: Any


class _Floats:
    """Bags of rows of floats: the sum of each row times its factor."""

    def __init__(self, stored: int, width: int) -> None:
        self.stored, self.width = stored, width

    def _row(self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, i: Vector, wrong: _Wrong) -> Vector:
        size = (2 if self.stored != WIDE else 4 if real == ir.FloatType() else 8) * self.width
        return _floats(builder, _row(builder, asked, i, size, wrong), self.stored, self.width, real)

    def one(self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, i: Vector, wrong: _Wrong) -> Vector:
        """The vector of the i-th id."""
        factor = _splat(builder, _factor(builder, asked, i, real), self.width)
        return builder.fmul(self._row(builder, real, asked, i, wrong), factor)

    def sum(
        self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, begin: Vector, end: Vector, wrong: _Wrong
    ) -> Vector:
        """The sum of the vectors of the ids from `begin` to `end`."""

        def add(i: Vector, sums: list[Vector]) -> list[Vector]:
            factor = _splat(builder, _factor(builder, asked, i, real), self.width)
            product = builder.fmul(self._row(builder, real, asked, i, wrong), factor, _FUSED)
            return [builder.fadd(sums[0], product, _FUSED)]

        return _loop(builder, begin, end, [_filled(real, self.width, 0.0)], add)[0]


class _Products:
    """Rows of numbers times a matrix, some columns of it: `rows` says how many numbers a row has, and `weights` where
    the first is."""

    def __init__(self, width: int) -> None:
        self.width = width

    def one(self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, i: Vector, wrong: _Wrong) -> Vector:
        """The i-th product."""
        first = builder.mul(i, asked.rows)

        def add(w: Vector, sums: list[Vector]) -> list[Vector]:
            line = _load(builder, builder.add(asked.table, builder.mul(w, asked.stride)), sums[0].type)
            factor = _splat(builder, _factor(builder, asked, builder.add(first, w), real), self.width)
            return [builder.fadd(sums[0], builder.fmul(line, factor, _FUSED), _FUSED)]

        return _loop(builder, _I64(0), asked.rows, [_filled(real, self.width, 0.0)], add)[0]


class _Codes:
    """Bags of rows of codes of 8 or 4 bits, which begin at bytes. Codes are summed as whole numbers, and become floats
    once a bag, where they have no factors."""

    def __init__(self, bits: int, width: int, weighted: bool) -> None:
        self.width, self.weighted = width, weighted
        self.planes, self.lanes = 8 // bits, width * bits // 8
        # The type of sums, and how many of the largest codes it has room for.
        self.narrow, self.most = (_I16, 257) if self.planes == 1 else (_I8, 17)

    def _codes(self, builder: ir.IRBuilder, asked: Asked, i: Vector, wrong: _Wrong) -> list[Vector]:
        """Those of the i-th id: all, or those of every second column and of the others."""
        given = _load(builder, _row(builder, asked, i, self.lanes, wrong), ir.VectorType(_I8, self.lanes))
        if self.planes == 1:
            return [given]
        return [builder.and_(given, _filled(_I8, self.lanes, 15)), builder.lshr(given, _filled(_I8, self.lanes, 4))]

    def _levels(
        self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, sums: Sequence[Vector], counted: Vector
    ) -> Vector:
        """The sum of levels, by those of codes and of factors."""
        total = sums[0] if self.planes == 1 else _in_turns(builder, sums, self.lanes)
        tops, steps = (_load(builder, at, ir.VectorType(real, self.width)) for at in (asked.tops, asked.steps))
        return builder.fmul(builder.fsub(total, builder.fmul(tops, _splat(builder, counted, self.width))), steps)

    def one(self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, i: Vector, wrong: _Wrong) -> Vector:
        """The vector of the i-th id."""
        whole, floats = ir.VectorType(_I32, self.lanes), ir.VectorType(real, self.lanes)
        codes = [builder.sitofp(builder.zext(each, whole), floats) for each in self._codes(builder, asked, i, wrong)]
        found = self._levels(builder, real, asked, codes, ir.Constant(real, 1.0))
        return builder.fmul(found, _splat(builder, _factor(builder, asked, i, real), self.width))

    def sum(
        self, builder: ir.IRBuilder, real: ir.Type, asked: Asked, begin: Vector, end: Vector, wrong: _Wrong
    ) -> Vector:
        """The sum of the vectors of the ids from `begin` to `end`."""
        planes, lanes = self.planes, self.lanes
        whole, narrow, floats = (ir.VectorType(kind, lanes) for kind in (_I32, self.narrow, real))

        def add_weighted(i: Vector, sums: list[Vector]) -> list[Vector]:
            factor = _factor(builder, asked, i, real)
            values = [
                builder.sitofp(builder.zext(each, whole), floats) for each in self._codes(builder, asked, i, wrong)
            ]
            products = [builder.fmul(value, _splat(builder, factor, lanes), _FUSED) for value in values]
            added = [builder.fadd(*pair, _FUSED) for pair in zip(sums[1:], products, strict=True)]
            return [builder.fadd(sums[0], factor), *added]

        def add(i: Vector, sums: list[Vector]) -> list[Vector]:
            codes = self._codes(builder, asked, i, wrong)
            codes = [each if self.narrow == _I8 else builder.zext(each, narrow) for each in codes]
            return [builder.add(*pair) for pair in zip(sums, codes, strict=True)]

        def add_segment(segment: Vector, sums: list[Vector]) -> list[Vector]:
            first = builder.add(begin, builder.mul(segment, _I64(self.most)))
            behind = _least(builder, builder.add(first, _I64(self.most)), end)
            found = _loop(builder, first, behind, [_filled(self.narrow, lanes, 0)] * planes, add)
            return [builder.add(total, builder.zext(each, whole)) for total, each in zip(sums, found, strict=True)]

        if self.weighted:
            start = [ir.Constant(real, 0.0), *[_filled(real, lanes, 0.0)] * planes]
            counted, *found = _loop(builder, begin, end, start, add_weighted)
        else:
            count = builder.sub(end, begin)
            segments = builder.sdiv(builder.add(count, _I64(self.most - 1)), _I64(self.most))
            sums = _loop(builder, _I64(0), segments, [_filled(_I32, lanes, 0)] * planes, add_segment)
            found = [builder.sitofp(plane, floats) for plane in sums]
            counted = builder.sitofp(count, real)
        return self._levels(builder, real, asked, found, counted)


def _loops(choices: Mapping[int, Any], *, bags: bool = True) -> Any:
    """`loop(like, choice, asked)`: do the bags by the loop of that number, in the type of `like`; whether an id is not
    a row, or a bag not within the ids. Without `bags`, every id is one of its own."""

    def typed(context: Any, like: Any, choice: Any, asked: Any) -> Any:
        def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Vector:
            real = context.get_value_type(like.dtype)
            _, number, packed = arguments
            given = Asked(*(builder.extract_value(packed, at) for at in range(len(Asked._fields))))
            wrong = _Wrong(builder)
            which = builder.switch(number, wrong.after)
            for each, loop in choices.items():
                block = builder.append_basic_block(f"loop{each}")
                which.add_case(_I64(each), block)
                builder.position_at_end(block)
                _bags(builder, real, given, loop, wrong, bags)
                builder.branch(wrong.after)
            return wrong.found()

        return types.boolean(like, types.int64, types.UniTuple(types.int64, len(Asked._fields))), build

    return intrinsic(typed)


MANY = 64
"""Columns of the widest loops."""
WEIGHTED = 1 << 16
"""Added to the number of a loop of codes that have factors."""
FLOATS = {number: _Floats(stored, width) for stored, widths in (
    (WIDE, (MANY, 16, 4, 1)), (BFLOAT16, (16, 4, 1)), (FLOAT16, (16, 4, 1))
) for width in widths for number in [stored * 256 + width]}  # fmt: skip
floats = _loops(FLOATS)
"""Loops over rows of floats; their numbers are that of what is stored, times 256, and of how many columns."""
CODES = {number: _Codes(bits, width, weighted) for stored, bits, weighted, widths in (
    (BYTES, 8, False, (MANY, 16, 4, 1)), (NIBBLES, 4, False, (MANY, 16, 4, 2)),
    (BYTES, 8, True, (16, 1)), (NIBBLES, 4, True, (16, 2)),
) for width in widths for number in [stored * 256 + width + weighted * WEIGHTED]}  # fmt: skip
codes = _loops(CODES)
"""Likewise of codes."""
_NARROW = {number: loop for number, loop in FLOATS.items() if loop.width <= 16}
floats_one_by_one = _loops(_NARROW, bags=False)
"""Each row of floats for itself, in at most 16 columns."""
codes_one_by_one = _loops(
    {number: loop for number, loop in CODES.items() if loop.width <= 16 and not loop.weighted}, bags=False
)
"""Likewise of codes."""
sums_of_floats = _loops({number: loop for number, loop in _NARROW.items() if loop.stored == WIDE})
"""Bags of rows of floats of the type that is computed in, in at most 16 columns."""
products = _loops({width: _Products(width) for width in (16, 4, 1)}, bags=False)
"""Products of rows and a matrix, in so many columns."""


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def word_at(context: Any, address: Any) -> Any:
    """The 8 bytes at any address, as an unsigned number."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Vector:
        return _load(builder, arguments[0], _I64)

    return types.uint64(types.int64), build


# -- parts of loops --------------------------------------------------------------------------------------------------

_FUSED = ("contract",)
"""A product and a sum may be one instruction."""


def _bags(builder: ir.IRBuilder, real: ir.Type, asked: Asked, loop: Any, wrong: _Wrong, bags: bool) -> None:
    """Do every bag by this loop."""

    def store(b: Vector, values: Vector) -> None:
        _store(builder, values, builder.add(asked.out, builder.mul(b, asked.apart)))

    def one(b: Vector, none: list[Vector]) -> list[Vector]:
        store(b, loop.one(builder, real, asked, b, wrong))
        return none

    def several(b: Vector, none: list[Vector]) -> list[Vector]:
        final, following = builder.sub(asked.bounds, _I64(1)), builder.add(b, _I64(1))

        def offset(place: Vector) -> Vector:
            return _load(builder, builder.add(asked.offsets, builder.shl(place, _I64(3))), _I64)

        begin, end = offset(b), offset(_least(builder, following, final))
        end = builder.select(builder.icmp_signed("<", following, asked.bounds), end, asked.count)
        # A negative number is a large one without a sign.
        outside = builder.icmp_unsigned(">", end, asked.count)
        wrong.leave_if(builder.or_(builder.icmp_unsigned(">", begin, end), outside))
        total = loop.sum(builder, real, asked, begin, end, wrong)
        count = builder.sub(end, begin)
        averaged = builder.and_(
            builder.icmp_signed("!=", asked.mean, _I64(0)), builder.icmp_signed(">", count, _I64(1))
        )
        by = builder.sitofp(builder.select(averaged, count, _I64(1)), real)
        store(b, builder.fmul(total, _splat(builder, builder.fdiv(ir.Constant(real, 1.0), by), loop.width)))
        return none

    if not bags:
        _loop(builder, asked.start, asked.stop, [], one)
        return
    with builder.if_else(builder.icmp_signed("==", asked.bounds, _I64(0))) as (alone, otherwise):
        with alone:
            _loop(builder, asked.start, asked.stop, [], one)
        with otherwise:
            _loop(builder, asked.start, asked.stop, [], several)


class _Wrong:
    """Whether an id was met that is not a row, or a bag that is not within the ids."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder
        with builder.goto_entry_block():
            self.place = builder.alloca(_BIT)
        builder.store(_BIT(0), self.place)
        self.after = builder.append_basic_block("after")

    def leave_if(self, condition: Vector) -> None:
        """Leave all loops where the condition holds."""
        bad, good = (self.builder.append_basic_block(name) for name in ("bad", "good"))
        self.builder.cbranch(condition, bad, good)
        self.builder.position_at_end(bad)
        self.builder.store(_BIT(1), self.place)
        self.builder.branch(self.after)
        self.builder.position_at_end(good)

    def found(self) -> Vector:
        """Whether it was, at the end of all."""
        self.builder.position_at_end(self.after)
        return self.builder.load(self.place)


def _loop(
    builder: ir.IRBuilder, begin: Vector, end: Vector, start: Sequence[Vector], body: Callable[..., list[Vector]]
) -> list[Vector]:
    """What `body(i, values)` makes of the values in the end, for i from `begin` to `end`."""
    before = builder.block
    head, inside, after = (builder.append_basic_block(name) for name in ("head", "inside", "behind"))
    builder.branch(head)
    builder.position_at_end(head)
    i = builder.phi(_I64)
    i.add_incoming(begin, before)
    values = [builder.phi(value.type) for value in start]
    for value, first in zip(values, start, strict=True):
        value.add_incoming(first, before)
    builder.cbranch(builder.icmp_signed("<", i, end), inside, after)
    builder.position_at_end(inside)
    for value, new in zip(values, body(i, values), strict=True):
        value.add_incoming(new, builder.block)
    i.add_incoming(builder.add(i, _I64(1)), builder.block)
    builder.branch(head)
    builder.position_at_end(after)
    return values


def _row(builder: ir.IRBuilder, asked: Asked, i: Vector, size: int, wrong: _Wrong) -> Vector:
    """The address of the columns of the i-th id, `size` bytes; asks for those of a later one."""

    def id_at(place: Vector) -> Vector:
        return _load(builder, builder.add(asked.ids, builder.shl(place, _I64(3))), _I64)

    def place_of(row: Vector) -> Vector:
        return builder.add(asked.table, builder.mul(row, asked.stride))

    row = id_at(i)
    wrong.leave_if(builder.icmp_unsigned(">=", row, asked.rows))
    later = place_of(id_at(_least(builder, builder.add(i, _I64(AHEAD)), builder.sub(asked.count, _I64(1)))))
    for line in range(0, size, _LINE):
        _ask_for(builder, builder.add(later, _I64(line)))
    return place_of(row)


def _ask_for(builder: ir.IRBuilder, address: Vector) -> None:
    byte = _I8.as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, _I32, _I32, _I32])
    module, name = builder.module, "llvm.prefetch.p0"
    function = module.globals.get(name) or ir.Function(module, kind, name)
    builder.call(function, [builder.inttoptr(address, byte), _I32(0), _I32(3), _I32(1)])  # to read, keep, data


def _factor(builder: ir.IRBuilder, asked: Asked, i: Vector, real: ir.Type) -> Vector:
    return _load(builder, builder.add(asked.weights, builder.mul(i, asked.step)), real)


def _least(builder: ir.IRBuilder, one: Vector, other: Vector) -> Vector:
    return builder.select(builder.icmp_signed("<", one, other), one, other)


def _floats(builder: ir.IRBuilder, address: Vector, stored: int, width: int, real: ir.Type) -> Vector:
    """Stored numbers, as they are computed with."""
    if stored == WIDE:
        return _load(builder, address, ir.VectorType(real, width))
    half = builder.zext(_load(builder, address, ir.VectorType(_I16, width)), ir.VectorType(_I32, width))
    single = ir.VectorType(ir.FloatType(), width)

    def word(number: int) -> Vector:
        return _filled(_I32, width, number)

    if stored == BFLOAT16:
        found = builder.bitcast(builder.shl(half, word(16)), single)
    else:
        assert stored == FLOAT16
        # The bits of a number 2^112 times smaller; infinity and NaN have all bits of the exponent.
        small = builder.bitcast(builder.shl(builder.and_(half, word(0x7FFF)), word(13)), single)
        size = builder.bitcast(builder.fmul(small, _filled(ir.FloatType(), width, 2.0**112)), half.type)
        odd = builder.icmp_unsigned("==", builder.and_(half, word(0x7C00)), word(0x7C00))
        size = builder.or_(size, builder.select(odd, word(0x7F800000), word(0)))
        sign = builder.shl(builder.and_(half, word(0x8000)), word(16))
        found = builder.bitcast(builder.or_(size, sign), single)
    return found if real == ir.FloatType() else builder.fpext(found, ir.VectorType(real, width))


def _in_turns(builder: ir.IRBuilder, planes: Sequence[Vector], lanes: int) -> Vector:
    """The numbers of two vectors in turns."""
    order = [plane * lanes + lane for lane in range(lanes) for plane in range(2)]
    return builder.shuffle_vector(planes[0], planes[1], ir.Constant(ir.VectorType(_I32, len(order)), order))


def _load(builder: ir.IRBuilder, address: Vector, kind: ir.Type) -> Vector:
    return builder.load(builder.inttoptr(address, kind.as_pointer()), align=1)


def _store(builder: ir.IRBuilder, values: Vector, address: Vector) -> None:
    builder.store(values, builder.inttoptr(address, values.type.as_pointer()), align=1)


def _splat(builder: ir.IRBuilder, number: Vector, width: int) -> Vector:
    one = builder.insert_element(ir.Constant(ir.VectorType(number.type, width), ir.Undefined), number, _I32(0))
    return builder.shuffle_vector(one, one, ir.Constant(ir.VectorType(_I32, width), [0] * width))


def _filled(kind: ir.Type, width: int, number: float) -> Vector:
    return ir.Constant(ir.VectorType(kind, width), [number] * width)
