"""Artifacts of the tables of a checkpoint, opened: one table at a time, and all other tensors."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from coset.artifact.format import OTHERS, TABLES, read_manifest
from coset.checkpoints.base import Checkpoint, open_checkpoint
from coset.checkpoints.fitting import in_memory
from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.methods import Method, TableModule, from_json
from coset.schema import EXTRA, Table
from coset.storage.forms import pack_
from coset.tables import Embedding

_WRONG = KeyError, TypeError, ValueError, AttributeError, RuntimeError, IndexError


class StoredTables:
    """The folder of an artifact that `coset compress FILE` wrote.

    Args:
        folder: of the artifact.

    Attributes:
        tables: by name of the tensor, the table and its method.
        tied: other names of tensors, and the name that each is stored by.
        others: the other tensors, as a checkpoint.

    Raises:
        InputError: no artifact there, one of a trained model, a newer version, or a file that is missing or
            was changed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder = path_of(folder)
        manifest = read_manifest(folder)
        model = manifest.get("model")
        if not isinstance(model, dict) or model.get("kind") != "tables":
            raise InputError(
                f"{folder}: holds a trained model, not the tables of a checkpoint; coset.load_artifact(folder) reads it"
            )
        try:
            self._names: dict[str, str] = {tensor: name for name, tensor in model["tensors"].items()}
            self.tables: dict[str, tuple[Table, Method]] = {
                tensor: _table(manifest["tables"][name]) for tensor, name in self._names.items()
            }
            self.tied: dict[str, str] = dict(model["tied"])
            self.others: Checkpoint = open_checkpoint(folder / OTHERS)
            self._arrays: Checkpoint = open_checkpoint(folder / TABLES)
            if strange := sorted({*self.tied.values()} - self.tables.keys() - self.others.entries.keys()):
                raise InputError(f"nothing is stored by the name {strange[0]!r}")
        except InputError as error:
            raise InputError(f"{folder}: damaged: {error}") from None
        except _WRONG as error:
            raise InputError(f"{folder}: damaged: the manifest is not one of tables ({error!r:.200})") from None

    @property
    def names(self) -> list[str]:
        """Of all tensors that the checkpoint had."""
        return [*self.tables, *self.others.entries, *self.tied]

    def arrays(self, tensor: str) -> dict[str, Tensor]:
        """The arrays of a table, by their names in its module."""
        start = f"{self._names[tensor]}."
        mine = {name: of for name, of in self._arrays.entries.items() if name.startswith(start)}
        return {
            name.removeprefix(start): self._arrays.rows(name, 0, of.rows).reshape(of.shape) for name, of in mine.items()
        }

    def check(self, tensor: str) -> TableModule:
        """A table on the meta device, after a check that the arrays that are stored are those of its method.

        Raises:
            InputError: arrays of other types or sizes.
        """
        table, method = self.tables[tensor]
        start = f"{self._names[tensor]}."
        there = {name[len(start) :]: of for name, of in self._arrays.entries.items() if name.startswith(start)}
        built = Embedding.from_table(table, method, order=self.order(tensor), device="meta")
        module: TableModule = pack_(built).tables[table.name]
        wanted = {name: of for name, of in module.state_dict().items() if not name.endswith(EXTRA)}
        for name in sorted(wanted.keys() | there.keys()):
            mine, found = wanted.get(name), there.get(name)
            if mine is None or found is None or (mine.dtype, tuple(mine.shape)) != (found.dtype, found.shape):
                raise InputError(f"{self.folder}: damaged: array {name!r} of {tensor!r} does not fit its method")
        return module

    @torch.no_grad()
    def module(self, tensor: str) -> TableModule:
        """A table in its stored form, in memory."""
        module, arrays = in_memory(self.check(tensor)), self.arrays(tensor)
        state = module.state_dict()
        for name, value in arrays.items():
            state[name].copy_(value)
        return module.eval()

    def vectors(self, tensor: str) -> Tensor:
        """All vectors of a table, in memory."""
        if self.tables[tensor][1].is_full:
            (found,) = self.arrays(tensor).values()
            return found
        found, order = self.module(tensor).materialize(), self.order(tensor)
        return found if order is None else found[order.long()]

    def order(self, tensor: str) -> Tensor | None:
        """The rank of each id of a table, where it is kept by rank."""
        name = f"{self._names[tensor]}.order"
        of = self._arrays.entries.get(name)
        return None if of is None else self._arrays.rows(name, 0, of.rows).reshape(of.shape)


def _table(of: Json) -> tuple[Table, Method]:
    told, dtype = of["module"], getattr(torch, of["type"])
    return Table(told["name"], of["ids"], of["dim"], dtype=dtype), from_json(told["method"])
