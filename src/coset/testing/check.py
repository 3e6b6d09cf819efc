"""A check: a promise in one sentence, the tables to try it on, and a function that raises when it is broken."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from coset.methods import Method
from coset.schema import Table
from coset.testing.cases import Case


@dataclass(frozen=True)
class Check:
    """One promise of the contract.

    Args:
        name: in `CHECKS` and at the start of every failure.
        promise: what must hold, in one sentence.
        tables: the tables to try it on; a method's `examples` give the choices.
        run: raises when the promise is broken; takes one case, or all of a table where they are tried `together`.
        of_variants: whether only the class of a method and the fields that name a variant matter to it; of examples
            that agree in these, it tries one.
        together: whether it takes all cases of a table at once, where that spares much of its time.
    """

    name: str
    promise: str
    tables: Sequence[Table]
    run: Callable[..., None]
    of_variants: bool = False
    together: bool = False

    def cases(self, kind: type[Method]) -> Iterator[list[Case]]:
        """All cases of a method that this check is for, those of one table after another."""
        for table in self.tables:
            cases = [Case(table, method) for method in kind.examples(table)]
            if self.of_variants:
                cases = list({tuple(sorted(case.fixed.items())): case for case in reversed(cases)}.values())[::-1]
            if cases:
                yield cases

    def __call__(self, *cases: Case) -> None:
        """Run it on cases of one table; an `AssertionError` says which check, which case and what is wrong."""
        for some in [cases] if self.together else [(case,) for case in cases]:
            threads = torch.get_num_threads()
            try:
                self.run(*some)
            except Exception as error:
                for one in some if len(some) > 1 else ():
                    self(one)  # so that the message names the failing case
                what = str(error) if isinstance(error, AssertionError) else f"{type(error).__name__}: {error}"
                where = "; ".join(map(str, some))
                raise AssertionError(f"{self.name}: {where}: {what} (promised: {self.promise})") from error
            finally:
                torch.set_num_threads(threads)


def check(*tables: Table, of_variants: bool = False, together: bool = False) -> Callable[[Callable[..., None]], Check]:
    """Decorator: the function is a check to be tried on these tables; its docstring is the promise."""

    def make(run: Callable[..., None]) -> Check:
        promise = " ".join((inspect.getdoc(run) or "").split())
        return Check(run.__name__, promise, tables, run, of_variants, together)

    return make


def expect(holds: bool, otherwise: str) -> None:
    """Raise with this sentence unless it holds (a bare `assert` would vanish under `python -O`)."""
    if not holds:
        raise AssertionError(otherwise)


def refused(expected: type[Exception] | tuple[type[Exception], ...], act: Callable[[], object], *words: object) -> Any:
    """Expect `act` to raise one of these errors with all of these words in its message; return the error."""
    try:
        act()
    except expected as error:
        for word in words:
            expect(str(word) in str(error), f"the message {str(error)!r} does not name {word!r}")
        return error
    names = expected.__name__ if isinstance(expected, type) else " or ".join(kind.__name__ for kind in expected)
    raise AssertionError(f"no {names} was raised, expected one that names {', '.join(map(str, words))}")
