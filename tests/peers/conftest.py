"""What coset says of TorchRec, FBGEMM and torchao, held against these themselves: `make test-peers` installs them, and
without them every test here is skipped."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import pytest

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the peers say while they are imported is their own matter
    for peer in ("fbgemm_gpu", "torchrec", "torchao.quantization"):
        with suppress(ImportError, OSError):
            importlib.import_module(peer)

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: Iterable[pytest.Item]) -> None:
    """The peers warn of what torch deprecates and of binaries for other machines; coset's own stay errors."""
    for item in items:
        if item.path.is_relative_to(HERE):
            for kind in (UserWarning, DeprecationWarning, FutureWarning):
                item.add_marker(pytest.mark.filterwarnings(f"ignore::{kind.__name__}"))
            item.add_marker(pytest.mark.filterwarnings("error:::coset"))
