"""The columns of the int64 matrices that tell kernels what to do: one line each feature, piece, part, array, use, task.

A *piece* is one composition of rows: that of a table, or of one block of it. A *part* is one of its rows. A *use* is
one place where an array is read: a part of a piece, its projection or its bias, on behalf of one feature.
"""

from __future__ import annotations

# A feature of one call: its ids, and where its vectors go or their gradients come from. Addresses are 0 where absent.
VALUES, COUNT, NARROW_IDS, ORDER, IDS = 0, 1, 2, 3, 4  # ids: address, number, whether int32; ranks; ids of the table
OFFSETS, BAGS, WEIGHTS, MEAN = 5, 6, 7, 8  # where bags begin (int64), how many; a factor an id; whether to average
VECTORS, STRIDE, DIM = 9, 10, 11  # address of the first bag's vector, elements from one bag to the next, elements
PIECE, PIECES = 12, 13  # the first and their number
SPACE = 14  # where the feature begins in buffers with a row an id
PROJECTED = 15  # where its partial sums for projections begin, in elements of one task; -1 where it has no projection
OPEN = 16  # whether the offsets lack the last one, the number of ids
FEATURE_COLUMNS = 17

# A piece: which ids, and how their vectors are made.
START, STOP, OPERATION, PARTS, PART, WIDTH, OUT, PROJECTION, BIAS, PARTIAL = 0, 1, 2, 3, 4, 5, 6, 7, 8, 9
PIECE_COLUMNS = 10
MULT, ADD, CONCAT = 0, 1, 2

# A part: its array, where its row begins in a concatenation, and the map from ids to rows with three numbers.
ARRAY, PART_WIDTH, COLUMN, KIND, FIRST, SECOND, THIRD = 0, 1, 2, 3, 4, 5, 6
PART_COLUMNS = 7
IDENTITY, ARITHMETIC, HASH, CODES = 0, 1, 2, 3

# An array: where it is, its shape, and what its numbers are: of the type that is computed in; narrower; codes of 8 or
# 4 bits, where rows begin at bytes, or of any, of which those of 8 bits with a step a row are trained, too; or floats
# that are rounded when they are read.
ADDRESS, ROWS, ARRAY_WIDTH, STORED = 0, 1, 2, 3
WIDE, BFLOAT16, FLOAT16, BYTES, NIBBLES, BITS, ROUNDED = 0, 1, 2, 3, 4, 5, 6
# Of codes and rounded floats: where the logarithms of steps are, the type they are stored in, and how many columns have
# one in common, 0 where a row has.
SCALES, SCALES_STORED, IN_COMMON = 4, 5, 6
# Of rounded floats: where two lines of numbers are, half the largest code of every column, and its step.
LEVELS = 7
ARRAY_COLUMNS = 8
# Of an array that is only read: how many bits a row takes and the array bytes; and where a line for every stored column
# is, and how many.
ROW_BITS, SIZE, CODED, CODED_COLUMNS = 7, 8, 9, 10
SOURCE_COLUMNS = 11
# Such a column: the bit of the row that its code begins at, as many ones as it has bits, its largest code, its place.
BEGIN, MASK, TOP, PLACE = 0, 1, 2, 3
PLACE_COLUMNS = 4

# A use: of which array, by which feature and piece; which part, or one of these three. Steps have the array of rounded
# floats that they are of in place of a piece.
USE_ARRAY, USE_FEATURE, USE_PIECE, USE_PART = 0, 1, 2, 3
USE_COLUMNS = 4
AS_PROJECTION, AS_BIAS, AS_STEPS = -1, -2, -3

# A task of summing: the rows of one array whose number has this remainder, and where its sums begin.
TASK_ARRAY, REMAINDER, CHUNKS, ROOM, SUMS, FIRST_USE, USES = 0, 1, 2, 3, 4, 5, 6
TASK_COLUMNS = 7

# What an optimizer keeps beside an array: addresses of up to two states, and of the step that each row is brought to;
# the group of its learning rate.
STATE, OTHER, BROUGHT, GROUP = 0, 1, 2, 3
STATE_COLUMNS = 4
SGD, ADAGRAD, ROWWISE_ADAGRAD, ADAM = 0, 1, 2, 3

# How work is cut into tasks, by nothing but the sizes of a call.
CHUNK = 1024  # ids, or bags, of one task of lookups
TASKS, LEAST = 16, 512  # about how many tasks the sums of a call are cut into, and the fewest lookups of one


def chunks_of(lookups: int, total: int, rows: int) -> int:
    """How many tasks share the sums of an array: `lookups` are those of its rows, `total` those of all arrays."""
    chunks = 1
    while chunks * 2 <= min(TASKS * lookups / total, lookups / LEAST, rows):
        chunks *= 2
    return chunks
