"""coset-runtime: recommendations from artifacts of coset, without torch.

An artifact is a folder that `coset export` wrote (docs/artifact.md of coset). Files are mapped into memory, so several
processes share one copy, and rows are widened as they are read.
"""

from __future__ import annotations

from coset_runtime.dot import DotModel, Ranked
from coset_runtime.errors import InputError
from coset_runtime.loading import load

__version__ = "0.2.0"

__all__ = ["DotModel", "InputError", "Ranked", "load"]
