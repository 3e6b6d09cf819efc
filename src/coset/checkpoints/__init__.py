"""Checkpoints that coset did not train: what is in them, and artifacts of their tables.

base           the contract of a reader, and which reader takes a path
readers/       one file a format
tensors        the layout of safetensors files, read and written in pieces
tables         which tensors are tables, and their vectors in the file
frequencies    how often ids occur, from an .npz file
inspecting     what `coset inspect` shows
fitting        methods within a budget, and arrays fitted in pieces
card           the README of what is written
writing        from a checkpoint to an artifact
stored         such an artifact, opened
loading        from it into a model of torch
expanding      from it back to a checkpoint
"""

from __future__ import annotations

from coset.checkpoints.expanding import expand_checkpoint
from coset.checkpoints.inspecting import inspect_checkpoint
from coset.checkpoints.loading import Loaded, load_compressed
from coset.checkpoints.writing import compress_checkpoint

__all__ = ["Loaded", "compress_checkpoint", "expand_checkpoint", "inspect_checkpoint", "load_compressed"]
