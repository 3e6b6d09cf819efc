"""What kernels and layers repeat: the first are kept on disk by their own sources, and the second load no torch."""

from __future__ import annotations

import ast
from pathlib import Path

import coset
from coset.kernels import narrow
from coset.storage import steps


def test_all_read_steps_by_the_same_rate() -> None:
    source = Path(coset.__file__).parent / "keras" / "storage" / "packed.py"
    rates = [
        ast.literal_eval(of.value)
        for of in ast.parse(source.read_text("utf-8")).body
        if isinstance(of, ast.Assign) and getattr(of.targets[0], "id", "") == "_RATE"
    ]
    assert len(rates) == 1
    assert {*rates, steps.RATE} == {narrow.RATE}
