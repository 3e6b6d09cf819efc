"""Recognises formats that coset does not read by their first bytes, and says what to do about them."""

from __future__ import annotations

import re
from collections.abc import Mapping

HEAD = 1 << 12
"""Bytes at the beginning that distinguish formats."""

_TABLE = "write the table as CSV or Parquet"
_BY_PANDAS = f"{_TABLE} (pandas.read_{{}}(…).to_csv(…, index=False))"

_MARKS: Mapping[bytes, tuple[str, str]] = {
    b"ORC": ("an ORC file", _BY_PANDAS.format("orc")),
    b"ARROW1": ("an Arrow or Feather file", _BY_PANDAS.format("feather")),
    b"FEA1": ("a Feather file", _BY_PANDAS.format("feather")),
    b"\x89HDF\r\n\x1a\n": ("an HDF5 file", _BY_PANDAS.format("hdf")),
    b"SQLite format 3\0": ("an SQLite database", f"{_TABLE} (sqlite3 -header -csv FILE 'SELECT …')"),
    b"\x93NUMPY": ("a NumPy array", f"{_TABLE}, with a line of names"),
    b"MATLAB 5.0 MAT-file": ("a MATLAB file", f"{_TABLE} (scipy.io.loadmat reads it)"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("an old Excel workbook", "save its sheet as CSV UTF-8"),
    b"PAR2": ("a PAR2 file", _TABLE),
    b"Obj\x01": ("an Avro file", _TABLE),
    b"\x04\x22\x4d\x18": ("packed with lz4", "unpack it, or pack it with gzip, zstd, bzip2 or xz"),
    b"\x1f\x9d": ("packed with compress (.Z)", "unpack it, or pack it with gzip"),
    b"7z\xbc\xaf\x27\x1c": ("a 7-Zip archive", "unpack it, or pack it as zip"),
    b"Rar!\x1a\x07": ("a RAR archive", "unpack it, or pack it as zip"),
    b"%PDF-": ("a PDF document", _TABLE),
    b"\x7fELF": ("a program", "check the path"),
    b"RDX": ("an R workspace", f"{_TABLE} (write.csv(…, row.names = FALSE))"),
    b"SFrame": ("an SFrame", _TABLE),
    b"version https://git-lfs": ("a pointer to a file in Git LFS", "fetch the file itself with git lfs pull"),
}


def foreign(head: bytes) -> tuple[str, str] | None:
    """The format of a file with these first bytes, and what to do about it, if coset does not read it; else `None`.

    Example:
        >>> foreign(b"ORC...")[0]
        'an ORC file'
    """
    for mark, found in _MARKS.items():
        if head.startswith(mark):
            return found
    if head[257:262] == b"ustar":
        return "a tar archive", "unpack it, and give the table in it"
    if re.match(rb"\x80[\x02-\x05][\x00-\x1f\x80-\xff(}\]c]", head):
        return "a pickle of Python, which could run code when it is read", _TABLE
    if _is_tfrecord(head):
        return "a TFRecord file", f"{_TABLE}; coset reads tables"
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if re.match(rb"\[\s*[\[{]|\{\s*\"", text):
        lines = b'"}\n{' in text or b"}\n{" in text or b"}\r\n{" in text
        way = _BY_PANDAS.replace("(…)", "(…, lines=True)") if lines else _BY_PANDAS
        return ("JSON, an object a line" if lines else "JSON"), way.format("json")
    if re.match(rb"<(\?xml|!doctype|html)", text, re.IGNORECASE):
        return "a page of the web or XML", "fetch the file itself; this may be a page about it"
    return None


def encoding(head: bytes) -> str | None:
    """The name, for iconv, of the encoding of a text in two or four bytes a character; else `None`.

    Example:
        >>> encoding("user".encode("utf-16-le"))
        'UTF-16LE'
    """
    for mark, name in ((b"\xff\xfe\0\0", "UTF-32"), (b"\0\0\xfe\xff", "UTF-32")):
        if head.startswith(mark):
            return name
    if head.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "UTF-16"
    # Without a mark: of Latin text, every other byte is zero.
    for place, name in ((1, "UTF-16LE"), (0, "UTF-16BE")):
        if len(head) >= 8 and not any(head[place:64:2]) and all(head[1 - place : 64 : 2]):
            return name
    return None


def _is_tfrecord(head: bytes) -> bool:
    """Whether a record of TensorFlow begins here: eight bytes of length, four of a checksum, then a message."""
    length = int.from_bytes(head[:8], "little")
    return len(head) > 14 and 0 < length < 1 << 24 and head[4:8] == bytes(4) and head[12] == 0x0A
