"""Shared code for the folders of runs: the machine and versions, peak memory, and the refusal of other choices."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import torch

import coset
from coset.documents import Json
from coset.errors import Diverged, InputError, brief
from coset.files import clear


def host() -> Json:
    """The machine, without its name."""
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": f"{platform.system()} {platform.machine()}",
    }


def versions() -> dict[str, str]:
    """Versions of Python and of the libraries that compute."""
    return {
        "coset": coset.__version__,
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def forget_peak() -> None:
    """Count peak memory from now on, where the system can: on Linux."""
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def peak_resident_bytes() -> int | None:
    """The most memory that this process had resident since `forget_peak`, or ever; None where the system does not
    say."""
    with suppress(OSError):
        status = Path("/proc/self/status").read_text(encoding="ascii")
        if found := re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
            return int(found[1]) * 1024
    try:
        import resource
    except ImportError:  # Windows
        return None
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if platform.system() == "Darwin" else most * 1024


def _cpu() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    found = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    return found[1].strip() if found else platform.machine()


@contextmanager
def nothing_kept_of_divergence(folder: Path, begun: bool) -> Iterator[None]:
    """Empty the folder of a training that diverges, so that other choices can be trained there; but where it was
    `begun` before, keep what it held."""
    try:
        yield
    except Diverged:
        if not begun:
            clear(folder)
        raise


def refuse_others(where_found: Path, there: object, here: Mapping[str, object]) -> None:
    """Raise an `InputError` if what a folder or file holds was made by other choices or from other data.

    It does not compare where the data are: their fingerprint tells whether they are the same.
    """
    for where, old, new in _differences(there, here):
        if not where.startswith("spec.data."):
            more = (
                ", or train it further, once it is finished, by --continue" if where == "spec.training.epochs" else ""
            )
            raise InputError(
                f"{where_found}: holds work of other choices or data ({where or 'all'} is {brief(old)} there and "
                f"{brief(new)} now); choose another --out{more}"
            )


def first_difference(there: object, here: object) -> str | None:
    """Where two JSON values differ first, as a sentence; None where they are equal.

    Example:
        >>> first_difference({"seed": 1}, {"seed": 2})
        'seed is 1 there and 2 in its model'
    """
    return next((f"{where or 'all'} is {brief(old)} there and {brief(new)} in its model"
                 for where, old, new in _differences(there, here)), None)  # fmt: skip


def _differences(there: object, here: object, where: str = "") -> list[tuple[str, object, object]]:
    if isinstance(there, Mapping) and isinstance(here, Mapping):
        return [
            found
            for key in sorted({*there, *here})
            for found in _differences(there.get(key), here.get(key), f"{where}.{key}".lstrip("."))
        ]
    if isinstance(there, list) and isinstance(here, list) and len(there) == len(here):
        return [
            found
            for at, (old, new) in enumerate(zip(there, here, strict=True))
            for found in _differences(old, new, f"{where}[{at}]")
        ]
    return [] if there == here else [(where, there, here)]
