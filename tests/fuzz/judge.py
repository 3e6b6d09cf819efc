"""What an input may end as: taken, or refused in one sentence. Everything else is a fault."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Protocol
from unittest import mock

from coset.sizes import parse_size

LONGEST = 1000
"""Characters of an error: what a person reads, and less than the input that caused it."""


class Fault(AssertionError):
    """An input ended as none should."""


class Group(Protocol):
    """One way into coset."""

    def try_input(self, draw: Random, scratch: Path) -> str:
        """Make an input from `draw`, try it in the empty folder `scratch`; "taken" or "refused", or raise `Fault`."""


def check_sentence(sentence: str, *named: str) -> None:
    """Hold an error to one line of bounded length that has each of `named` in it."""
    if not sentence.strip() or "\n" in sentence.strip():
        raise Fault(f"not one sentence: {sentence[:2000]!r}")
    if len(sentence) > LONGEST:
        raise Fault(f"an error of {len(sentence):,} characters: {sentence[:LONGEST]!r} …")
    if "Traceback" in sentence or "Error(" in sentence:
        raise Fault(f"an error of Python's in a sentence: {sentence!r}")
    for name in named:
        if name not in sentence:
            raise Fault(f"the error does not name {name!r}: {sentence!r}")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its code and what it printed."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON object on stdout, in which every number is one."""

        def refuse(word: str) -> None:
            raise Fault(f"{word} in the JSON that is printed: {self.out[:2000]}")

        return json.loads(self.out, parse_constant=refuse)


def command(*words: object, named: tuple[str, ...] = ()) -> Ended:
    """Run the command line in this process; it must end with code 0, or with 2 and one sentence."""
    from coset.cli import main

    out, err = io.StringIO(), io.StringIO()
    code: Any = 0
    with (
        mock.patch.object(sys, "argv", ["coset", *map(str, words)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        _silent_libraries(),
    ):
        try:
            main()
        except SystemExit as end:
            code = end.code or 0
    ended = Ended(code, out.getvalue(), err.getvalue())
    if code not in (0, 2):
        raise Fault(f"exit code {code}: {ended.err[-2000:]}")
    said = [line.removeprefix("coset: ") for line in ended.err.split("\n") if line.startswith("coset: ")]
    warned = [line for line in said if line.startswith("warning: ")]
    for warning in warned:
        check_sentence(warning)
    if code == 0 and len(warned) < len(said):
        raise Fault(f"an error, and exit code 0: {ended.err[-2000:]!r}")
    if code == 2:
        sentences = [line for line in said if line not in warned]
        if len(sentences) != 1 or not ended.err.endswith(f"{sentences[0]}\n"):
            raise Fault(f"not one sentence at the end: {ended.err[-2000:]!r}")
        check_sentence(sentences[0], *named)
        if "--json" in words and ended.out:
            raise Fault(f"refused, and {ended.out[:500]!r} is printed")
    return ended


@contextlib.contextmanager
def _silent_libraries() -> Iterator[None]:
    """Raise a `Fault` where something writes to stderr past Python, as panics of Rust do."""
    with tempfile.TemporaryFile() as file:
        kept = os.dup(2)
        os.dup2(file.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
        file.seek(0)
        if said := file.read().decode(errors="replace"):
            raise Fault(f"a library writes to stderr: {said[:2000]}")


def call(run: Callable[[], Any], errors: tuple[type[BaseException], ...], *named: str) -> tuple[str, Any]:
    """("taken", result) of a call in Python, or ("refused", error) where it raised one of `errors` in one sentence."""
    try:
        result = run()
    except errors as error:
        check_sentence(str(error), *named)
        return "refused", error
    return "taken", result


def check_holds(given: Any, found: Any, where: str = "it") -> None:
    """Raise a `Fault` unless what was read, as JSON, says all that was written, and nothing else in its place."""
    numbers = [type(of) in (int, float) for of in (given, found)]
    if isinstance(given, str) and isinstance(found, dict) and "method" in found:
        given = {"method": given}  # a method without choices may be written by its name alone
    if isinstance(given, str) and isinstance(found, dict) and "storage" in found:  # by its name or type, or by its bits
        bits = given.removeprefix("int")
        packed = {"storage": "packed", "bits": int(bits)} if bits.isdigit() else {"dtype": given}
        given = {"storage": given} if given == found["storage"] else packed
    if isinstance(given, (str, float)) and where.endswith(".budget") and isinstance(found, int):
        given = parse_size(given)  # a size with its unit, in whole bytes
    if isinstance(given, dict) and isinstance(found, dict):
        for name, value in given.items():
            if value is None or (name == "storage" and value == "dense"):  # as if it were left out
                continue
            if name not in found:
                raise Fault(f"{where}.{name} = {value!r} is left out")
            check_holds(value, found[name], f"{where}.{name}")
    elif isinstance(given, list) and isinstance(found, list) and len(given) == len(found):
        for at, value in enumerate(given):
            check_holds(value, found[at], f"{where}[{at}]")
    elif given != found or (type(given) is not type(found) and not all(numbers)):
        raise Fault(f"{where} = {given!r} is read as {found!r}")


def digests(folder: Path) -> dict[str, str]:
    """The SHA-256 of every file in a folder, so that a loss or change shows."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
