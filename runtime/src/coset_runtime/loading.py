"""From the folder of an artifact to a model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from coset_runtime.arrays import TYPES, Array, array, column
from coset_runtime.dot import DotModel
from coset_runtime.errors import Damaged, InputError, brief, entry, whole
from coset_runtime.formulas import formula
from coset_runtime.manifest import TABLES, VOCABULARIES, opened
from coset_runtime.tables import Table
from coset_runtime.tensors import Tensors
from coset_runtime.vocabulary import vocabulary

_MODELS = {"dot": DotModel}


def load(folder: str | os.PathLike[str]) -> DotModel:
    """The model of an artifact, its files mapped into memory.

    Args:
        folder: that `coset export` wrote.

    Raises:
        InputError: no artifact there, one of a newer version, a file that is missing or was changed, or sizes that
            contradict the manifest.
    """
    try:
        path = Path(folder)
    except TypeError:
        raise InputError(f"a folder is a path, not {brief(folder)}") from None
    manifest, files = opened(path)
    try:
        return _model(manifest, Tensors(files[TABLES], TABLES), Tensors(files[VOCABULARIES], VOCABULARIES))
    except InputError as error:
        raise InputError(f"{path}: damaged: {error}; export it again, or copy it again") from None


def _model(manifest: Any, tensors: Tensors, columns: Tensors) -> DotModel:
    of = entry(manifest, "model", dict, "the manifest")
    kind = entry(of, "kind", str, "model")
    if kind not in _MODELS:
        raise Damaged(f"a model of the kind {brief(kind)} is unknown to this coset-runtime, which may be too old")
    arrays: dict[str, Array] = {}
    codes = {}
    for name, each in entry(manifest, "arrays", dict, "the manifest").items():
        where = f"array {brief(name)}"
        if entry(each, "form", str, where) == "whole numbers":
            codes[name] = column(each, tensors, where)
        else:
            arrays[name] = array(each, tensors, where)
    tables = {}
    for name, each in entry(manifest, "tables", dict, "the manifest").items():
        where = f"table {brief(name)}"
        ids, dim, outputs = (whole(each, key, where, 1) for key in ("ids", "dim", "outputs"))
        if (type_ := entry(each, "type", str, where)) not in TYPES:
            raise Damaged(f"{where}: its type is {brief(type_)}, not one of {', '.join(TYPES)}")
        node = formula(entry(each, "formula", dict, where), ids, TYPES[type_], arrays, codes, where)
        if node.width != dim * outputs:
            raise Damaged(f"{where}: its formula gives {node.width} elements, not {outputs} times {dim}")
        tables[name] = Table(ids, dim, outputs, node)
    vocabularies = {
        name: vocabulary(name, each, columns)
        for name, each in entry(manifest, "vocabularies", dict, "the manifest").items()
    }
    return _MODELS[kind](of, tables, vocabularies, tensors)
