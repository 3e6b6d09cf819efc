"""Text of libsvm and libffm → what each row says: a label, and indices, or fields and features, with their values.

A line is `label index:value …` (libsvm) or `label field:feature:value …` (libffm); what follows `#` is a comment.
"""

from __future__ import annotations

from typing import Any

from coset.kernels.compile import kernel
from coset.kernels.parse import BAD, GOOD, MISSING, _decimal, _whole

_NEWLINE, _RETURN, _SPACE, _TAB, _HASH, _COLON = 10, 13, 32, 9, 35, 58


@kernel
def tokens(
    data: Any, parts: int, labels: Any, label_states: Any, begins: Any, bad: Any, rows: Any, fields: Any, features: Any,
    values: Any,
) -> int:  # fmt: skip
    """What lines say, word by word.

    Args:
        data: uint8, whole lines, each ended by a line feed.
        parts: of a word: 2 for libsvm, whose indices are both field and feature, or 3 for libffm.
        labels: for the label of each line, float64.
        label_states: for what became of it, uint8; `MISSING` on a line that says nothing.
        begins: for where each line begins.
        bad: for where the first word of a line begins that is none, or -1.
        rows, fields, features, values: for the line, field, feature and value of each word; as many as there are colons
            are enough.

    Returns:
        How many words there are.
    """
    line, count, at = 0, 0, 0
    while at < len(data):
        end = at
        while data[end] != _NEWLINE:
            end += 1
        stop = at
        while stop < end and data[stop] != _HASH:
            stop += 1
        begins[line], bad[line], label_states[line], labels[line] = at, -1, MISSING, 0.0
        first = True
        while at < stop:
            if data[at] == _SPACE or data[at] == _TAB or data[at] == _RETURN:
                at += 1
                continue
            begin, colons, one, two = at, 0, 0, 0
            while at < stop and data[at] != _SPACE and data[at] != _TAB and data[at] != _RETURN:
                if data[at] == _COLON:
                    colons += 1
                    one, two = (at, two) if colons == 1 else (one, at)
                at += 1
            if first:
                first = False
                labels[line], label_states[line] = _decimal(data, begin, at) if colons == 0 else (0.0, BAD)
                continue
            fine = colons == parts - 1
            if fine:
                last = one if parts == 2 else two
                field, state = _whole(data, begin, one)
                feature, other = (field, state) if parts == 2 else _whole(data, one + 1, two)
                value, of_value = _decimal(data, last + 1, at) if last + 1 < at else (0.0, BAD)
                fine = state == GOOD and other == GOOD and of_value == GOOD and field >= 0 and feature >= 0
                if fine:
                    rows[count], fields[count], features[count], values[count] = line, field, feature, value
                    count += 1
            if not fine and bad[line] < 0:
                bad[line] = begin
        line, at = line + 1, end + 1
    return count
