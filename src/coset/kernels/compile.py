"""How kernels are compiled and kept on disk."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

import numba
from numba.core import config
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler

from coset.files import in_turn

F = TypeVar("F", bound=Callable[..., Any])

# `nnan` and `ninf` are left out: they would let the compiler fold tests for NaN away.
_MATH = {"contract", "reassoc", "nsz"}
_INNER: dict[str, Any] = {
    "nogil": True, "fastmath": _MATH, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True
}  # fmt: skip


class _Part(JITCodeLibrary):  # type: ignore[misc, unused-ignore]
    """The code of a function that kernels alone call. It becomes machine code where it is linked into theirs, and not
    by itself, which nobody could call."""

    @property
    def codegen(self) -> Any:
        """Itself, which does all that is asked of it here."""
        return self

    def set_env(self, name: str, environment: Any) -> None:
        """There is no machine code that would read it."""

    def get_pointer_to_function(self, name: str) -> int:
        """0, as of a function that is not there."""
        self._ensure_finalized()
        return 0

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class _RawPart(_Part):
    """The same, which LLVM improves where it is linked, and not before."""

    def _optimize_final_module(self) -> None:
        pass


class _PartCompiler(Compiler):  # type: ignore[misc, unused-ignore]
    """numba's, which puts code where there is a place for it."""

    place: type[_Part] = _Part

    def define_pipelines(self) -> Any:
        """The passes of numba."""
        self.state.library = self.place(self.state.targetctx.codegen(), self.state.func_id.func_qualname)
        return super().define_pipelines()


class _RawPartCompiler(_PartCompiler):
    place = _RawPart


def _folder() -> Path:
    """Where compiled kernels are kept, by the digest of their sources: numba sees edits of the file that a function
    is in, but not of the files of the functions that it calls."""
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.read_bytes())
    if kept := os.environ.get("COSET_CACHE"):
        base = Path(kept)
    elif kept := os.environ.get("XDG_CACHE_HOME"):
        base = Path(kept) / "coset"
    else:
        base = Path.home() / ".cache" / "coset"
    return base / "kernels" / digest.hexdigest()[:16]


_FOLDER = _folder()


def compiled(function: F) -> F:
    """A function that kernels alone call: Python must not, since what would unpack its arguments is not compiled.

    It is compiled anew for each type of its arguments, of which a constant such as 0 is one of its own, as is an
    unsigned number: a number that is handed on is an `np.int64`, so that one version is enough.
    """
    wrapped: F = numba.njit(pipeline_class=_PartCompiler, **_INNER)(function)
    return wrapped


def gathered(function: F) -> F:
    """The same, for large kernels of many functions: LLVM improves them once, in the kernel, where else it would do so
    in each that calls them, too. Kernels of short loops are some percent slower by it."""
    wrapped: F = numba.njit(pipeline_class=_RawPartCompiler, **_INNER)(function)
    return wrapped


def inlined(function: F) -> F:
    """A function that is made a part of those that call it: handing on a dozen arrays takes longer than short work."""
    wrapped: F = numba.njit(forceinline=True, pipeline_class=_PartCompiler, **_INNER)(function)
    return wrapped


def kernel(function: F) -> F:
    """What Python calls: kept on disk, and free of the global lock.

    One whose work `launch` shares out takes `part, parts` first, and does that part of it, or what nobody has claimed.
    """
    before = config.CACHE_DIR
    config.CACHE_DIR = str(_FOLDER)  # read when a function is decorated, so that other users of numba keep theirs
    try:
        wrapped: F = numba.njit(cache=True, nogil=True, fastmath=_MATH, error_model="numpy")(function)
    finally:
        config.CACHE_DIR = before
    compile_it = wrapped.compile  # type: ignore[attr-defined]  # by which numba makes a version that it has not

    def compile_once(signature: Any) -> Any:
        """Compile the kernel for these types, or read what another process compiled or is about to have compiled."""
        types = hashlib.sha256(str(signature).encode()).hexdigest()[:8]
        with in_turn(_FOLDER / f"{function.__name__}-{types}.lock"):
            return compile_it(signature)

    wrapped.compile = compile_once  # type: ignore[attr-defined]
    return wrapped


@cache
def announce() -> None:
    """Say, once, that kernels are being compiled, on a machine that has none yet."""
    if not _FOLDER.is_dir() or not any(_FOLDER.rglob("*.nbc")):
        print("coset: compiling its kernels, once on this machine (under half a minute) …", file=sys.stderr, flush=True)
