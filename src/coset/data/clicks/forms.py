"""Recognises a log by its first lines: libsvm or libffm text, a RecBole file, Criteo's layout, or any other table.

It reads only the beginning of a file, and ignores its name.
"""

from __future__ import annotations

import re

from coset.data.clicks.schema import CRITEO_KAGGLE
from coset.data.clicks.source import LogFile
from coset.data.sources.recbole import types_of

LIBSVM, LIBFFM = 2, 3
LABEL = rb"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
"""The pattern of a label in libsvm and libffm text."""
ATOMIC_LABEL = "label"
"""The name of RecBole's column of labels."""

_WORDS = {LIBSVM: rb"(?:qid|[0-9]+):[^\s:]+", LIBFFM: rb"[0-9]+:[0-9]+:[^\s:]+"}
_FORMS = {form: re.compile(rb"%s(?:\s+%s)+" % (LABEL, word)) for form, word in _WORDS.items()}
_WITHOUT_LABELS = {form: re.compile(rb"%s(?:\s+%s)*" % (word, word)) for form, word in _WORDS.items()}


def tells_itself(file: LogFile) -> bool:
    """Whether a file is recognisable as a click log with known columns."""
    return form_of(file) is not None or ATOMIC_LABEL in atomic_types(file) or is_criteo(file)


def form_of(file: LogFile, *, labelled: bool = True) -> int | None:
    """`LIBSVM` or `LIBFFM`, by the first line that is not empty, with a label or without; None where it is neither."""
    forms = _FORMS if labelled else _WITHOUT_LABELS
    if not file.is_text:
        return None
    for line in file.first_lines():
        said = line.partition(b"#")[0].strip()
        if not said or re.fullmatch(LABEL, said):
            continue
        return next((form for form, pattern in forms.items() if pattern.fullmatch(said)), None)
    return None


def atomic_types(file: LogFile) -> dict[str, str]:
    """The types of the columns of a RecBole file by name; empty for any other file."""
    return types_of(_header(file))


def is_criteo(file: LogFile) -> bool:
    """Whether the first line has the layout of Criteo's logs, which have no header."""
    fields = _header(file).split("\t")
    return len(fields) == len(CRITEO_KAGGLE.names or ()) and fields[0] in ("0", "1")


def _header(file: LogFile) -> str:
    """The first line that is not blank; empty where there is none."""
    if not file.is_text:
        return ""
    found = next((line for line in file.first_lines() if line.strip()), b"")
    return found.decode("utf-8", "replace").rstrip("\r")
