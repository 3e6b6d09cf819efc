"""Tables, arrays and tensors of a model, as the manifest of an artifact has them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from coset import formulas, ledger
from coset.documents import Json
from coset.errors import InputError
from coset.methods import TableModule
from coset.schema import EXTRA
from coset.storage import StoredRows
from coset.storage.forms import pack_


class Held(NamedTuple):
    """What an artifact holds of a model.

    Args:
        tables: by name: sizes, method, formula and bytes.
        arrays: by path in the model: sizes, and how rows are read from tensors.
        tensors: all that is stored, by name.
    """

    tables: Json
    arrays: Json
    tensors: dict[str, Tensor]


@torch.no_grad()
def held(model: nn.Module, tables: Mapping[str, str]) -> Held:
    """What an artifact holds of a model, whose arrays go to their stored form.

    Args:
        tables: name → path of the module.

    Raises:
        InputError: a method or a storage does not say as data what it computes.
    """
    state = {name: value for name, value in pack_(model).state_dict().items() if not name.endswith(EXTRA)}
    paths = {id(of): path for path, of in model.named_modules() if isinstance(of, StoredRows)}
    found = Held({}, {}, {name: _plain(value) for name, value in state.items()})
    for name, path in tables.items():
        module = model.get_submodule(path)
        assert isinstance(module, TableModule)
        try:
            _add(found, name, path, module, paths)
        except InputError as error:
            raise InputError(f"table {name!r} cannot be exported: {error}") from None
    return found


def _add(found: Held, name: str, path: str, module: TableModule, paths: Mapping[int, str]) -> None:
    table, method = module.table, module.method
    formula = method.formula(table)
    if hasattr(module, "order"):
        formula = formulas.ordered(formula, "order")
    arrays, columns = formulas.names(formula)
    full = {local: f"{path}.{local}" for local in columns}
    for local in sorted(arrays):
        stored = module.get_submodule(local)
        assert isinstance(stored, StoredRows)
        full[local] = where = paths[id(stored)]
        of = {"rows": stored.rows, "width": stored.width, "type": str(stored.dtype)[6:]}
        found.arrays[where] = {**of, **stored.reading(where)}
    for local in sorted(columns):
        rows = found.tensors[full[local]].shape[0]
        found.arrays[full[local]] = {"rows": rows, "form": "whole numbers", "tensor": full[local]}
    attributes = {}
    if columns - {"order"}:  # without which the method cannot be built again
        for column, codes in (table.attributes or {}).items():
            attributes[column] = f"attributes.{name}.{column}"
            found.tensors[attributes[column]] = torch.from_numpy(_narrow(codes))
    order = found.tensors[full["order"]].nbytes if "order" in columns else 0
    found.tables[name] = {
        "ids": table.num_embeddings, "dim": table.embedding_dim, "outputs": method.table_outputs,
        "type": str(table.dtype)[6:], "formula": formulas.renamed(formula, full.__getitem__),
        "bytes": ledger.inference_bytes(method.components(table)) + order, "full_bytes": table.full_bytes,
        "module": {"name": table.name, "method": method.to_json(), "attributes": attributes},
    }  # fmt: skip


def _plain(value: Tensor) -> Tensor:
    """As it can be written; of one on the meta device, whose numbers come later, type and shape."""
    return value.detach() if value.is_meta else value.detach().cpu().contiguous()


def _narrow(codes: np.ndarray) -> np.ndarray:
    """In the narrowest type of those that every library has."""
    most = int(codes.max(initial=0))
    kinds = (np.uint8, np.int16, np.int32, np.int64)
    return codes.astype(next(of for of in kinds if most <= np.iinfo(of).max))
