"""Changes of good inputs: of bytes, and of the trees that JSON and TOML hold."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

WORDS = (
    b"",
    b"\x00",
    b"\xff",
    b"\xef\xbb\xbf",
    b"\r",
    b"\n",
    b"\r\n",
    b"\t",
    b",",
    b";",
    b"|",
    b"::",
    b'"',
    b"'",
    b"\\N",
    b"nan",
    b"-",
    b"-1",
    b"1.0",
    b"01",
    b"1e400",
    b"18446744073709551616",
    b"9223372036854775808",
    "ÿ\u2028".encode(),
    b"x" * 300,
)
"""Pieces that readers of text treat in ways of their own."""

VALUES: tuple[Any, ...] = (
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    3,
    2**31,
    2**63,
    10**400,
    0.5,
    1.5,
    1e308,
    float("nan"),
    float("inf"),
    -0.0,
    "",
    "1",
    "full",
    "\x00",
    "é",
    "x" * 5000,
    "../x",
    "25%",
    "1KB",
    [],
    [0],
    [[]],
    ["a", "a"],
    {},
    {"a": 1},
    {"": {}},
)
"""Values that a field of a tree may be mistaken for."""


def text(draw: Random, data: bytes) -> bytes:
    """`data` with one to four small changes: bytes and lines replaced, dropped, doubled, swapped, cut off."""
    for _ in range(draw.choice((1, 1, 2, 4))):
        place = draw.randrange(len(data) + 1)
        end = min(len(data), place + draw.choice((0, 1, 1, 2, 8, 64)))
        lines = data.split(b"\n")
        line = draw.randrange(len(lines))
        match draw.randrange(8):
            case 0:
                data = data[:place] + draw.choice(WORDS) + data[end:]
            case 1:
                data = data[:place] + draw.choice(WORDS) + data[place:]
            case 2:
                data = data[:place] + bytes([draw.randrange(256)]) + data[end:]
            case 3:
                data = data[:place]
            case 4:
                del lines[line]
                data = b"\n".join(lines)
            case 5:
                lines.insert(draw.randrange(len(lines)), lines[line])
                data = b"\n".join(lines)
            case 6:
                lines[line] = draw.choice(WORDS)
                data = b"\n".join(lines)
            case 7:
                other = draw.randrange(len(lines))
                lines[line], lines[other] = lines[other], lines[line]
                data = b"\n".join(lines)
    return data


def bit(draw: Random, data: bytes) -> bytes:
    """`data` with another bit in one place, as a bad disk or network leaves it."""
    changed = bytearray(data)
    changed[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def tree(draw: Random, given: Any) -> Any:
    """A copy of a tree of dicts and lists in which one to three places hold another value, are gone, new or renamed."""
    changed = copy.deepcopy(given)
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        holder, key = draw.choice(_places(changed) or [([changed], 0)])
        match draw.randrange(6):
            case 0 | 1 | 2:
                holder[key] = copy.deepcopy(draw.choice(VALUES))
            case 3:
                del holder[key]
            case 4 if isinstance(holder, dict):
                holder[draw.choice((f"{key}x", key[:-1], "name", "kind"))] = holder.pop(key)
            case 4:
                holder.append(copy.deepcopy(holder[key]))
            case 5:
                other_holder, other_key = draw.choice(_places(changed))
                holder[key] = copy.deepcopy(other_holder[other_key])  # a copy: a tree has no circle
    return changed


def _places(given: Any) -> list[tuple[Any, Any]]:
    """Every holder and key of a tree, from the top down."""
    keys = given.keys() if isinstance(given, dict) else range(len(given)) if isinstance(given, list) else ()
    found: list[tuple[Any, Any]] = []
    for key in list(keys):
        found += [(given, key), *_places(given[key])]
    return found
