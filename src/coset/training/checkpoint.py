"""Tensors and what is to be known of them in one file: safetensors, with JSON in its metadata.

A file is written aside and renamed, so there is never half of one, and carries a checksum, so that damage is
found when it is read and not when the model has gone astray.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from coset.errors import InputError
from coset.files import replacing

_VERSION = 1


def save(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, Any]) -> None:
    """Write `tensors` and `header` (plain JSON values) to `path`, wholly or not at all.

    Args:
        kind: what the file is, such as `"model"`; `load` insists on it.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about: dict[str, Any] = {"kind": kind, "version": _VERSION, "header": dict(header)}
    about["sha256"] = _digest(kept, about)
    with replacing(path) as aside:
        save_file(kept, aside, metadata={"coset": json.dumps(about, allow_nan=False)})


def load(path: Path, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and the header that `save` wrote.

    Raises:
        InputError: the file is missing, is no such file, is damaged, or is of a newer version.
    """
    if not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {}).get("coset", "null"))
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
    except (SafetensorError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged, or not of coset ({error}); remove it and start again") from None
    if not isinstance(about, dict) or about.get("kind") != kind:
        raise InputError(f"{path}: not a {kind} that coset wrote")
    version = about.get("version")
    if isinstance(version, int) and version > _VERSION:
        raise InputError(f"{path}: written by a newer coset (version {version}, this one reads {_VERSION})")
    if about.pop("sha256", None) != _digest(tensors, about):
        raise InputError(f"{path}: damaged, its contents do not match their checksum; remove it and start again")
    return tensors, about["header"]


def _digest(tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()
