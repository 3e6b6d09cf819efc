"""What a log is, told by its first lines: libsvm or libffm text, a RecBole file, Criteo's layout, or any other table.

Nothing here reads more than the beginning of a file, and none of it asks for a name.
"""

from __future__ import annotations

import re

from coset.data.clicks.schema import CRITEO_KAGGLE
from coset.data.clicks.source import LogFile
from coset.data.sources.recbole import types_of

LIBSVM, LIBFFM = 2, 3
LABEL = rb"[+-]?[0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?"
"""What a label looks like in libsvm and libffm text."""
ATOMIC_LABEL = "label"
"""How RecBole calls the column of labels."""

_WORDS = {LIBSVM: rb"(?:qid|[0-9]+):[^\s:]+", LIBFFM: rb"[0-9]+:[0-9]+:[^\s:]+"}
_FORMS = {form: re.compile(rb"%s(?:\s+%s)+" % (LABEL, word)) for form, word in _WORDS.items()}
_WITHOUT_LABELS = {form: re.compile(rb"%s(?:\s+%s)*" % (word, word)) for form, word in _WORDS.items()}


def tells_itself(file: LogFile) -> bool:
    """Whether a file says by itself that it is a click log, and what its columns are."""
    return form_of(file) is not None or ATOMIC_LABEL in atomic_types(file) or is_criteo(file)


def form_of(file: LogFile, *, labelled: bool = True) -> int | None:
    """Whether the first line that says anything is `LIBSVM` or `LIBFFM`, with a label or without; None where it is
    neither."""
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
    """The types of the columns by name, of a file of RecBole's; empty for any other one."""
    return types_of(_header(file))


def is_criteo(file: LogFile) -> bool:
    """Whether the first line is laid out as Criteo's logs are, which have no line with names."""
    fields = _header(file).split("\t")
    return len(fields) == len(CRITEO_KAGGLE.names or ()) and fields[0] in ("0", "1")


def _header(file: LogFile) -> str:
    """The first line that is not blank; empty where there is none."""
    if not file.is_text:
        return ""
    found = next((line for line in file.first_lines() if line.strip()), b"")
    return found.decode("utf-8", "replace").rstrip("\r")
