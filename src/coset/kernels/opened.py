"""Arrays that are stored in fewer bits than they are computed with, made ready for a call that reads them.

A row of an array that has fewer rows than the call reads of it is met again and again: the quotients of a table have
four rows, say, and every id reads one. Such an array is widened as a whole, once, and all kernels of the call that only
read it read what it was widened into.
"""

from __future__ import annotations

import numpy as np

from coset.kernels.compile import kernel
from coset.kernels.layout import ADDRESS, ARRAY_WIDTH, ROUNDED, ROWS, STORED, WIDE
from coset.kernels.memory import uncounted
from coset.kernels.narrow import load_row
from coset.kernels.rounded import find_steps
from coset.kernels.share import claim


@kernel
def open_arrays(part, parts_of_work, taken, arrays, read, whole, room):
    """Find the steps of arrays of rounded floats, and widen arrays into `room`, each from `whole[a]` on if that is
    not negative. `read`, a copy of `arrays`, is made to say what is to be read."""
    arrays, read, whole, room = uncounted((arrays, read, whole, room))
    a = claim(taken)
    while a < len(arrays):
        if arrays[a, STORED] == ROUNDED:
            find_steps(arrays, a, room)
        if whole[a] >= 0 and arrays[a, STORED] != WIDE:
            width = arrays[a, ARRAY_WIDTH]
            for r in range(arrays[a, ROWS]):
                begin = whole[a] + r * width
                load_row(arrays, a, np.int64(r), width, room[begin : begin + width])
            read[a, ADDRESS], read[a, STORED] = room.ctypes.data + whole[a] * room.itemsize, WIDE
        a = claim(taken)
