"""From the folder of an artifact to a model of torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from coset.artifact import numbering
from coset.artifact.format import TABLES, VOCABULARIES, read_manifest
from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.methods import Method, from_json
from coset.schema import EXTRA, Table
from coset.storage.forms import pack_
from coset.tasks import task_class


@dataclass(frozen=True)
class Artifact:
    """A model with what its users know its ids by.

    Args:
        folder: of the artifact.
        model: in `eval()`, its tables in their stored form; `coset.unpack_` makes them trainable again.
        ids: by name of the vocabulary, the raw ids in the order of the rows of their table: int64, or an object array
            of `str`.
        manifest: what `manifest.json` says.
    """

    folder: Path
    model: Any
    ids: Mapping[str, np.ndarray]
    manifest: Json


def load_artifact(folder: str | Path) -> Artifact:
    """Read an artifact into torch: the model as it was trained, with every table stored as it was.

    Args:
        folder: that `coset export` or `export_run` wrote.

    Raises:
        InputError: no artifact there, one of a newer version, a file that is missing or was changed, or sizes that
            contradict the manifest.
    """
    folder = path_of(folder)
    manifest = read_manifest(folder)
    if manifest.get("task") is None:
        raise InputError(
            f"{folder}: holds the tables of a checkpoint; coset.load_compressed(model, folder) puts them into its model"
        )
    try:
        with ExitStack() as stack:
            tensors = stack.enter_context(safe_open(folder / TABLES, framework="pt"))
            columns = stack.enter_context(safe_open(folder / VOCABULARIES, framework="np"))
            tables = {name: _table(of, tensors.get_tensor) for name, of in manifest["tables"].items()}
            model = task_class(manifest["task"]).revived(manifest["model"], tables)
            attributes = {key for of in manifest["tables"].values() for key in of["module"]["attributes"].values()}
            _fill(pack_(model), {*tensors.keys()} - attributes, tensors.get_tensor)
            arrays = {name: columns.get_tensor(name) for name in columns.keys()}  # noqa: SIM118
        _check_vocabularies(manifest)
        ids = {name: _ids(name, of, arrays) for name, of in manifest["vocabularies"].items()}
    except InputError as error:
        raise InputError(f"{folder}: damaged: {error}") from None
    except (SafetensorError, KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError) as error:
        raise InputError(f"{folder}: damaged: the manifest does not fit the tensors ({error!r:.200})") from None
    return Artifact(folder, model.eval(), ids, manifest)


def _table(of: Json, tensor: Callable[[str], Tensor]) -> tuple[Table, Method]:
    """The table of an entry, and its method."""
    module = of["module"]
    attributes = {name: tensor(key).numpy() for name, key in module["attributes"].items()}
    dtype = getattr(torch, of["type"])
    return Table(module["name"], of["ids"], of["dim"], dtype=dtype, attributes=attributes or None), from_json(
        module["method"]
    )


@torch.no_grad()
def _fill(model: nn.Module, there: set[str], tensor: Callable[[str], Tensor]) -> None:
    """Give a model the values of tensors, one at a time."""
    state = {name: value for name, value in model.state_dict().items() if not name.endswith(EXTRA)}
    if stray := sorted(state.keys() ^ there):
        raise InputError(f"{stray[0]!r} is a tensor of {'the file' if stray[0] in there else 'the model'} alone")
    for name, value in state.items():
        found = tensor(name)
        if (found.dtype, found.shape) != (value.dtype, value.shape):
            raise InputError(
                f"{name!r} is of {found.dtype} and shape {tuple(found.shape)} in the file, and of {value.dtype} and "
                f"{tuple(value.shape)} by the manifest"
            )
        value.copy_(found)


def _ids(name: str, of: Json, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
    try:
        return numbering.decoded(of, arrays)
    except InputError as error:
        raise InputError(f"vocabulary {name!r}: {error}") from None


def _check_vocabularies(manifest: Json) -> None:
    """Raise an `InputError` where a vocabulary has other ids than the table that it is read with."""
    for side in manifest["model"].values():
        if not isinstance(side, dict) or "vocabulary" not in side:
            continue
        of = manifest["vocabularies"][side["vocabulary"]]
        ids = of["count"] + (of["unseen"] == "shared")
        for name in (side["table"], side["bias"]):
            if name is not None and manifest["tables"][name]["ids"] != ids:
                raise InputError(
                    f"vocabulary {side['vocabulary']!r} has {ids:,} ids, and table {name!r} "
                    f"{manifest['tables'][name]['ids']:,}"
                )
