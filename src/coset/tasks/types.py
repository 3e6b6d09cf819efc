"""The types that a task is generic in: its data as they are loaded, as a model sees them, its model, and a batch."""

from __future__ import annotations

from typing import TypeVar

from torch import nn

from coset.tasks.rows import Batch

DataT = TypeVar("DataT")
EncodedT = TypeVar("EncodedT")
ModelT = TypeVar("ModelT", bound=nn.Module)
BatchT = TypeVar("BatchT", bound=Batch)
