"""`sharded`: several safetensors files with an index, as `model.safetensors.index.json` of Hugging Face."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Self

from torch import Tensor

from coset.checkpoints.base import Checkpoint, Entry, register_reader
from coset.checkpoints.readers.single import SafetensorsFile
from coset.errors import InputError, brief
from coset.files import read_json

INDEX = "model.safetensors.index.json"
_ENDS = ".safetensors.index.json"


@register_reader("sharded")
class ShardedFiles(Checkpoint):
    """The index, whose `weight_map` has the file of each tensor, or the folder that it is in; or a folder with one
    `model.safetensors`."""

    _shards: dict[str, SafetensorsFile]
    _of: dict[str, str]

    @classmethod
    def claims(cls, path: Path) -> bool:
        """By its name; of a folder, by what is in it."""
        return path.name.endswith(_ENDS) or (path.is_dir() and _index_in(path) is not None)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the index and the headers of all shards.

        Raises:
            InputError: also for a shard that is missing, and for a tensor that is not in the shard of the index.
        """
        index = _index_in(path) if path.is_dir() else path
        assert index is not None
        if index.suffix == ".json":
            shard_of = _weight_map(index)
            shards = {name: _opened(index, name) for name in dict.fromkeys(shard_of.values())}
        else:
            shards = {index.name: SafetensorsFile.open(index)}
            shard_of = dict.fromkeys(shards[index.name].entries, index.name)
        entries: dict[str, Entry] = {}
        for name, shard in shard_of.items():
            if name not in shards[shard].entries:
                raise InputError(f"{index}: tensor {name!r} is not in its shard {shard}; copy the shards again")
            entries[name] = shards[shard].entries[name]
        found = cls(path, entries)
        found._shards, found._of = shards, shard_of
        return found

    @property
    def files(self) -> list[Path]:
        """The shards."""
        return [of.path for of in self._shards.values()]

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Of its shard."""
        self.entry(name)
        return self._shards[self._of[name]].rows(name, start, stop)

    def copied(self, name: str) -> Iterator[bytes | memoryview]:
        """Of its shard."""
        self.entry(name)
        return self._shards[self._of[name]].copied(name)


def _index_in(folder: Path) -> Path | None:
    return next((folder / name for name in (INDEX, "model.safetensors") if (folder / name).is_file()), None)


def _weight_map(index: Path) -> dict[str, str]:
    found = read_json(index)
    files = found.get("weight_map") if isinstance(found, dict) else None
    if not isinstance(files, dict) or not all(isinstance(name, str) for name in files.values()):
        raise InputError(f"{index}: not an index of shards, as it has no weight_map from tensors to files")
    for name in files.values():
        if Path(name).name != name or name in ("", ".", ".."):
            raise InputError(f"{index}: names the shard {brief(name)}, which is not a file beside it")
    return files


def _opened(index: Path, name: str) -> SafetensorsFile:
    path = index.parent / name
    if not path.is_file():
        raise InputError(f"{index}: its shard {name} is missing; copy it to {index.parent}")
    return SafetensorsFile.open(path)
