"""Loops over the columns of a row, many at a time, as LLVM's vectors.

LLVM turns a loop of numba into vectors by itself, but for rows of a length that it does not know: it compares addresses
first, and then works through 32 columns at a time, so that rows of 16 are left to a loop of single numbers.

Each is called as `f(number, width, given)`, none of it an array, which numba would count at every call: a number of the
type that is computed in, which some use; how many columns; and whole numbers, most of them addresses of the first
column. Results are those of the same loop over single numbers, to the bit.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic

_MANY = 16, 4, 1
"""How many columns at a time, as long as there are so many left."""
_I64, _I32, _I16, _I8 = (ir.IntType(bits) for bits in (64, 32, 16, 8))
_FLOAT, _DOUBLE = ir.FloatType(), ir.DoubleType()
_BYTES = {"i8": 1, "i16": 2, "float": 4, "double": 8}

Value = Any
"""A value of LLVM."""


class Columns:
    """Some columns, at one place of a loop.

    Args:
        builder: of the code.
        real: the type that is computed in.
        number: what the loop is given.
        many: how many columns.
        at: the first.
    """

    def __init__(self, builder: ir.IRBuilder, real: ir.Type, number: Value, many: int, at: Value) -> None:
        self.builder, self.real, self.many, self.at = builder, real, many, at
        self.number = self.each(number)

    def of(self, kind: ir.Type) -> ir.Type:
        """The type of so many of a kind."""
        return ir.VectorType(kind, self.many) if self.many > 1 else kind

    def load(self, address: Value, kind: ir.Type | None = None) -> Value:
        """Those of a row, which begins at an address."""
        return self.builder.load(self._place(address, kind or self.real), align=1)

    def store(self, address: Value, values: Value, kind: ir.Type | None = None) -> None:
        """Put them there."""
        self.builder.store(values, self._place(address, kind or self.real), align=1)

    def all(self, number: float, kind: ir.Type | None = None) -> Value:
        """One constant for every column."""
        return ir.Constant(self.of(kind or self.real), [number] * self.many if self.many > 1 else number)

    def each(self, value: Value) -> Value:
        """One value for every column."""
        if self.many == 1:
            return value
        one = self.builder.insert_element(ir.Constant(self.of(value.type), ir.Undefined), value, _I32(0))
        return self.builder.shuffle_vector(one, one, ir.Constant(self.of(_I32), [0] * self.many))

    def numbered(self) -> Value:
        """The number of each, of 32 bits."""
        from_here = ir.Constant(self.of(_I32), list(range(self.many)) if self.many > 1 else 0)
        return self.builder.add(self.each(self.builder.trunc(self.at, _I32)), from_here)

    def call(self, name: str, value: Value) -> Value:
        """What an intrinsic function of LLVM makes of each."""
        suffix = self.real.intrinsic_name if self.many == 1 else f"v{self.many}{self.real.intrinsic_name}"
        kind = ir.FunctionType(value.type, [value.type])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"{name}.{suffix}")
        return self.builder.call(function, [value])

    def as_real(self, singles: Value) -> Value:
        """Numbers of float32, in the type that is computed in."""
        return singles if self.real == _FLOAT else self.builder.fpext(singles, self.of(self.real))

    def as_single(self, values: Value) -> Value:
        """Numbers as float32."""
        return values if self.real == _FLOAT else self.builder.fptrunc(values, self.of(_FLOAT))

    def _place(self, address: Value, kind: ir.Type) -> Value:
        place = self.builder.add(address, self.builder.mul(self.at, _I64(_BYTES[str(kind)])))
        return self.builder.inttoptr(place, self.of(kind).as_pointer())


Body = Callable[..., None]


def by_columns(given: int) -> Callable[[Body], Any]:
    """The loop that does `body(columns, *given)` for all columns of a row, given so many whole numbers."""

    def decorate(body: Body) -> Any:
        def typed(context: Any, number: Any, width: Any, packed: Any) -> Any:
            def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Value:
                real, values = context.get_value_type(number), arguments[2]
                found = [builder.extract_value(values, place) for place in range(given)]
                begin: Value = _I64(0)
                for many in _MANY:
                    end = builder.and_(arguments[1], _I64(-many))

                    def do(at: Value, many: int = many) -> None:
                        body(Columns(builder, real, arguments[0], many, at), *found)

                    _loop(builder, begin, end, many, do)
                    begin = end
                return context.get_dummy_value()

            return types.void(number, types.int64, types.UniTuple(types.int64, given)), build

        return intrinsic(typed)

    return decorate


def _loop(builder: ir.IRBuilder, begin: Value, end: Value, step: int, body: Callable[[Value], None]) -> None:
    before = builder.block
    head, inside, behind = (builder.append_basic_block(name) for name in ("head", "inside", "behind"))
    builder.branch(head)
    builder.position_at_end(head)
    at = builder.phi(_I64)
    at.add_incoming(begin, before)
    builder.cbranch(builder.icmp_signed("<", at, end), inside, behind)
    builder.position_at_end(inside)
    body(at)
    at.add_incoming(builder.add(at, _I64(step)), builder.block)
    builder.branch(head)
    builder.position_at_end(behind)


@intrinsic  # type: ignore[untyped-decorator, unused-ignore]
def largest(context: Any, number: Any, width: Any, address: Any) -> Any:
    """The largest size of the numbers of a row, of the type of `number`; those that are not numbers do not count."""

    def build(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> Value:
        real, bits = context.get_value_type(number), ir.IntType(number.bitwidth)
        infinite = 0x7F800000 if number.bitwidth == 32 else 0x7FF0000000000000
        place = cgutils.alloca_once(builder, bits)
        builder.store(bits(0), place)
        begin: Value = _I64(0)
        for many in _MANY:
            end = builder.and_(arguments[1], _I64(-many))

            def do(at: Value, many: int = many) -> None:
                columns = Columns(builder, real, arguments[0], many, at)
                # Sizes of floats are in the order of their bits.
                found = builder.bitcast(columns.call("llvm.fabs", columns.load(arguments[2])), columns.of(bits))
                limit = columns.all(infinite, bits)
                found = builder.select(builder.icmp_unsigned(">", found, limit), columns.all(0, bits), found)
                if many > 1:
                    kind, name = ir.FunctionType(bits, [found.type]), f"llvm.vector.reduce.umax.v{many}i{bits.width}"
                    found = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [found])
                before = builder.load(place)
                builder.store(builder.select(builder.icmp_unsigned(">", found, before), found, before), place)

            _loop(builder, begin, end, many, do)
            begin = end
        return builder.bitcast(builder.load(place), real)

    return number(number, types.int64, types.int64), build


# -- rows as they are computed with ------------------------------------------------------------------------------------


@by_columns(2)
def copied(columns: Columns, given: Value, into: Value) -> None:
    """A row as it is."""
    columns.store(into, columns.load(given))


@by_columns(3)
def product(columns: Columns, left: Value, right: Value, into: Value) -> None:
    """One row times another."""
    columns.store(into, columns.builder.fmul(columns.load(left), columns.load(right)))


# -- floats that are rounded when they are read ------------------------------------------------------------------------


def _level(columns: Columns, place: Value, half: Value) -> Value:
    """The level nearest to a place, which is a number in steps; one that is not a number stays so."""
    builder = columns.builder
    low = builder.fneg(half)
    place = builder.select(builder.fcmp_ordered("<", place, low), low, place)
    place = builder.select(builder.fcmp_ordered(">", place, half), half, place)
    return builder.fsub(columns.call("llvm.rint", builder.fadd(place, half)), half)


@by_columns(4)
def rounded(columns: Columns, floats: Value, halves: Value, steps: Value, into: Value) -> None:
    """The levels of floats, times their steps."""
    step = columns.load(steps)
    place = columns.builder.fdiv(columns.load(floats), step)
    columns.store(into, columns.builder.fmul(_level(columns, place, columns.load(halves)), step))


@by_columns(5)
def through_levels(
    columns: Columns, floats: Value, halves: Value, steps: Value, gradients: Value, of_steps: Value
) -> None:
    """The gradients of floats in place of those of their levels; `of_steps`, float64, grows by what they add to the
    gradients of the logarithms of steps, before it is multiplied by those steps."""
    builder = columns.builder
    half, given = columns.load(halves), columns.load(gradients)
    place = builder.fdiv(columns.load(floats), columns.load(steps))
    inside = builder.fcmp_ordered("<=", columns.call("llvm.fabs", place), builder.fadd(half, columns.all(0.5)))
    nearest = _level(columns, place, half)
    # Not a choice of 0, of which LLVM would make a store by a mask, which takes some processors ten times as long.
    columns.store(gradients, builder.fsub(given, builder.select(inside, columns.all(0.0), given)))
    added = builder.fmul(given, builder.select(inside, builder.fsub(nearest, place), nearest))
    added = added if columns.real == _DOUBLE else builder.fpext(added, columns.of(_DOUBLE))
    columns.store(of_steps, builder.fadd(columns.load(of_steps, _DOUBLE), added), _DOUBLE)


# -- numbers of 16 bits, and codes of 8 --------------------------------------------------------------------------------


@by_columns(2)
def widened_bfloat16(columns: Columns, given: Value, into: Value) -> None:
    """Numbers of bfloat16, as they are computed with."""
    builder = columns.builder
    bits = builder.shl(builder.zext(columns.load(given, _I16), columns.of(_I32)), columns.all(16, _I32))
    columns.store(into, columns.as_real(builder.bitcast(bits, columns.of(_FLOAT))))


@by_columns(2)
def widened_half(columns: Columns, given: Value, into: Value) -> None:
    """Numbers of float16, as they are computed with."""
    builder = columns.builder

    def word(number: int) -> Value:
        return columns.all(number, _I32)

    half = builder.zext(columns.load(given, _I16), columns.of(_I32))
    # The bits of a number 2^112 times smaller; infinity and NaN have all bits of the exponent.
    small = builder.bitcast(builder.shl(builder.and_(half, word(0x7FFF)), word(13)), columns.of(_FLOAT))
    size = builder.bitcast(builder.fmul(small, columns.all(2.0**112, _FLOAT)), half.type)
    endless = builder.icmp_unsigned("==", builder.and_(half, word(0x7C00)), word(0x7C00))
    size = builder.or_(size, builder.select(endless, word(0x7F800000), word(0)))
    bits = builder.or_(size, builder.shl(builder.and_(half, word(0x8000)), word(16)))
    columns.store(into, columns.as_real(builder.bitcast(bits, columns.of(_FLOAT))))


@by_columns(2)
def levels_of_codes(columns: Columns, codes: Value, into: Value) -> None:
    """Levels of codes of 8 bits, 127 being level 0, times their step, which is the number that is given."""
    builder = columns.builder
    code = builder.zext(columns.load(codes, _I8), columns.of(_I32))
    found = builder.sitofp(builder.sub(code, columns.all(127, _I32)), columns.of(columns.real))
    columns.store(into, builder.fmul(found, columns.number))


def _scattered(columns: Columns, key: Value) -> Value:
    """A word of 32 bits for every column, by a key."""
    builder = columns.builder
    apart = builder.mul(columns.numbered(), columns.all(0x9E3779B9, _I32))
    return builder.add(columns.each(builder.trunc(key, _I32)), apart)


def _mixed(columns: Columns, word: Value) -> Value:
    """The finaliser of MurmurHash3, as `coset.kernels.hashing.mix`."""
    builder = columns.builder
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35)):
        word = builder.xor(word, builder.lshr(word, columns.all(shift, _I32)))
        word = builder.mul(word, columns.all(factor, _I32))
    return builder.xor(word, builder.lshr(word, columns.all(16, _I32)))


@by_columns(3)
def narrowed_bfloat16(columns: Columns, numbers: Value, key: Value, into: Value) -> None:
    """Numbers as bfloat16: upwards where the random bits carry, and never beyond what is finite."""
    builder = columns.builder

    def word(number: int) -> Value:
        return columns.all(number, _I32)

    def endless(bits: Value) -> Value:
        return builder.icmp_unsigned("==", builder.and_(bits, word(0x7F800000)), word(0x7F800000))

    bits = builder.bitcast(columns.as_single(columns.load(numbers)), columns.of(_I32))
    up = builder.add(bits, builder.and_(_mixed(columns, _scattered(columns, key)), word(0xFFFF)))
    found = builder.lshr(builder.select(endless(up), bits, up), word(16))
    is_nan = builder.icmp_unsigned("!=", builder.and_(bits, word(0x7FFFFF)), word(0))
    kept = builder.or_(builder.lshr(bits, word(16)), builder.select(is_nan, word(0x40), word(0)))
    columns.store(into, builder.trunc(builder.select(endless(bits), kept, found), columns.of(_I16)), _I16)


@by_columns(3)
def codes_of_numbers(columns: Columns, numbers: Value, key: Value, into: Value) -> None:
    """Codes of 8 bits of numbers, rounded stochastically to multiples of the step, which is the number that is given.

    Each random number is uniform, which is all that one column needs; those of a row need not be independent of each
    other.
    """
    builder = columns.builder
    noise = builder.lshr(_scattered(columns, key), columns.all(8, _I32))  # 24 bits, so that a float32 holds it, below 1
    part = builder.fmul(builder.sitofp(noise, columns.of(_FLOAT)), columns.all(2.0**-24, _FLOAT))
    place = builder.fdiv(columns.load(numbers), columns.number)
    place = builder.fadd(place, builder.fadd(columns.all(127.0), columns.as_real(part)))
    code = builder.fptosi(place, columns.of(_I32))
    for sign, bound in (("<", 0), (">", 254)):
        limit = columns.all(bound, _I32)
        code = builder.select(builder.icmp_signed(sign, code, limit), limit, code)
    columns.store(into, builder.trunc(code, columns.of(_I8)), _I8)
