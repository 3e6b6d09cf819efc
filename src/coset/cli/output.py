"""The output of commands: one JSON object or a table on stdout, bars and sentences on stderr, in any code page."""

from __future__ import annotations

import codecs
import json
import sys
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NoReturn

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from coset.errors import bounded

if TYPE_CHECKING:
    from coset.experiments.twin import Missing

err = Console(stderr=True)
"""The console for everything but the result of a command."""


_PLAIN = {
    "×": "x", "–": "-", "—": "-", "−": "-", "±": "+/-", "…": "...", "⋯": "...", "·": ".", "→": "->", "←": "<-",
    "↔": "<->", "↑": "^", "↓": "v", "≥": ">=", "≤": "<=", "≈": "~", "∝": "~", "√": "sqrt", "Σ": "sum", "Π": "prod",
    "∫": "integral", "⊙": "*", "∘": "*", "•": "*", "█": "#", "░": ".", "⌈": "ceil(", "⌉": ")",
    "α": "alpha", "β": "beta", "λ": "lambda", "π": "pi", "φ": "phi",
}  # fmt: skip
"""The replacement of each sign that a code page may lack."""


def print_in_any_code_page() -> None:
    """Let stdout and stderr write plain signs for those that their encoding lacks, as cp1252 and ASCII do, where Python
    would end with an error."""
    codecs.register_error("coset.plain", _plain)
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in (
            "strict",
            "surrogateescape",
            "backslashreplace",
        ):  # not an error handler that the user chose
            stream.reconfigure(errors="coset.plain")  # type: ignore[union-attr]


def _plain(error: UnicodeError) -> tuple[str, int]:
    """The replacement of characters that the encoding lacks: for names in the data, their code points, so that names
    stay distinct."""
    assert isinstance(error, UnicodeEncodeError)
    text = error.object[error.start : error.end]
    return "".join(_PLAIN.get(sign) or _as_ascii(sign) for sign in text), error.end


def _as_ascii(sign: str) -> str:
    small = unicodedata.decomposition(sign).startswith(("<super>", "<sub>"))
    same = unicodedata.normalize("NFKC", sign) if small else sign
    return same.encode("ascii", "backslashreplace").decode()


def show(found: dict[str, Any], as_json: bool, render: Any) -> None:
    """Print the result of a command: as one JSON object, or as the table that `render` makes of it."""
    if as_json:
        print(json.dumps(found, allow_nan=False))
        return
    console = Console()
    if not console.is_terminal:
        console = Console(width=120)
    console.print(render(found))


def warn(message: Warning | str, *_: Any, **__: Any) -> None:
    """Print a warning as one sentence; takes the place of `warnings.showwarning`."""
    print(f"coset: warning: {bounded(' '.join(str(message).split()))}", file=sys.stderr)


def fail(sentence: str) -> NoReturn:
    """Print what is wrong in one sentence, and end with code 2."""
    print(f"coset: {bounded(' '.join(sentence.split()))}", file=sys.stderr)
    sys.exit(2)


def warn_of_twin(missing: Missing | None) -> None:
    """Say which data a synthetic twin replaces, if it replaces any, and how to get them."""
    if missing is None:
        return
    text = (
        f"{missing.source} is missing, so coset uses its [bold]synthetic[/bold] twin: every figure and picture below "
        f"is about made-up ratings.\n\n[dim]{escape(missing.why)}[/dim]"
    )
    err.print(Panel(text, title="SYNTHETIC DATA", border_style="yellow"))


@contextmanager
def progress_bar(verb: str = "training ") -> Iterator[Bar]:
    """A bar on stderr while the block runs; `verb` comes before the name of the current work."""
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=err, transient=True, disable=not err.is_terminal) as shown:
        yield Bar(shown, verb)


class Bar:
    """A bar on stderr; where stderr is no terminal, a line for each run or other long work."""

    def __init__(self, shown: Progress, verb: str) -> None:
        self._shown = shown
        self._verb = verb
        self._task = shown.add_task("", total=None)
        self._what = ""

    def begin(self, steps: int) -> None:
        """Set the number of steps in all."""
        self._shown.update(self._task, total=steps)

    def advance(self, steps: int, what: str) -> None:
        """Add steps that are done; `what` is the current work."""
        if what != self._what and not err.is_terminal:
            err.print(f"{self._verb}{what}", highlight=False, markup=False, soft_wrap=True)
        self._what = what
        self._shown.update(self._task, advance=steps, description=what)
