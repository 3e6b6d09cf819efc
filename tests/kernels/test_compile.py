"""Kernels are compiled once on a machine, whoever asks first."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np

from coset.kernels.compile import compiled, gathered, inlined, kernel

CODE = """
import sys, time
from pathlib import Path
from numba.core import event
from coset.kernels.compile import kernel

compiled = []

class Counts(event.Listener):
    def on_start(self, of):
        compiled.append(of.data["dispatcher"].py_func.__name__)
    def on_end(self, of):
        pass

event.register("numba:compile", Counts())

@kernel
def total(numbers):
    found = 0
    for number in range(numbers):
        found += number
    return found

here = Path(sys.argv[1])
(here / sys.argv[2]).touch()
while len(list(here.iterdir())) < 2:  # until both are ready
    time.sleep(0.001)
assert total(5) == 10
print(len(compiled))
"""


def test_processes_that_begin_together_compile_once(tmp_path: Path) -> None:
    script, ready = tmp_path / "ask.py", tmp_path / "ready"
    script.write_text(CODE)
    ready.mkdir()
    environment = os.environ | {"COSET_CACHE": str(tmp_path / "cache")}
    asked = [
        subprocess.Popen([sys.executable, script, ready, name], env=environment, stdout=subprocess.PIPE, text=True)
        for name in ("one", "two")
    ]
    told = [process.communicate(timeout=60)[0] for process in asked]
    assert [process.returncode for process in asked] == [0, 0]
    assert sorted(map(int, told)) == [0, 1]


def test_functions_of_kernels_become_machine_code_in_kernels_alone() -> None:
    @inlined
    def twice(number):  # type: ignore[no-untyped-def]
        return number * 2

    @compiled
    def first(numbers):  # type: ignore[no-untyped-def]
        return twice(numbers[0])

    @gathered
    def both(numbers):  # type: ignore[no-untyped-def]
        return first(numbers) + twice(numbers[1])

    @kernel
    def total(numbers):  # type: ignore[no-untyped-def]
        return both(numbers) + first(numbers)

    assert total(np.array([3, 4])) == 20
    for part in (twice, first, both):
        (made,) = part.overloads.values()  # type: ignore[attr-defined]
        assert made.library.get_pointer_to_function(made.fndesc.llvm_func_name) == 0
    (made,) = total.overloads.values()  # type: ignore[attr-defined]
    assert made.library.get_pointer_to_function(made.fndesc.llvm_func_name)
