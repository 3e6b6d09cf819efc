"""Tensors and facts about them in one file: safetensors, with JSON in its metadata.

A file is written aside and renamed, so there is never half of one, and has a checksum, so that reading finds damage. A
`Rotation` keeps the last few of a run.
"""

from __future__ import annotations

import hashlib
import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from coset.documents import Json, parse_json
from coset.errors import InputError
from coset.files import path_of, replacing_tensors, sweep

_VERSION = 1


class Damaged(InputError):
    """A file that differs from what was written."""


def save(path: Path, kind: str, tensors: Mapping[str, Tensor], header: Mapping[str, object]) -> str:
    """Write `tensors` and `header` (plain JSON values) to `path`, wholly or not at all, and return the digest of all.

    Args:
        kind: what the file is, such as `"model"`; `load` checks it.

    Raises:
        OSError: the disk is full, or another error of the system; an earlier file stays.
    """
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    about: Json = {"kind": kind, "version": _VERSION, "header": dict(header)}
    about["sha256"] = _digest(kept, kept.__getitem__, about)
    with replacing_tensors(path) as aside:
        save_file(kept, aside, metadata={"coset": json.dumps(about, allow_nan=False)})
    return str(about["sha256"])


def load(path: Path, kind: str) -> tuple[dict[str, Tensor], Json]:
    """The tensors and the header that `save` wrote.

    Raises:
        InputError: the file is missing, is no such file, is damaged, or is of a newer version.
    """
    with opened(path, kind) as saved:
        return {name: saved.tensor(name) for name in saved.names}, saved.header


@dataclass(frozen=True)
class Saved:
    """A checked file that `save` wrote: its header, its tensors, read one at a time, and their digest."""

    path: Path
    header: Json
    names: tuple[str, ...]
    tensor: Callable[[str], Tensor]
    digest: str


@contextmanager
def opened(path: Path, kind: str) -> Iterator[Saved]:
    """The file that `save` wrote, checked whole first, with one tensor in memory at a time.

    Raises:
        InputError: as `load`.
    """
    if not path_of(path).is_file():
        raise InputError(f"{path}: no such file")
    with ExitStack() as stack:
        try:
            file = stack.enter_context(safe_open(path, framework="pt"))
            about = parse_json((file.metadata() or {}).get("coset", "null"), "its metadata")
            names = tuple(file.keys())
        except (SafetensorError, OSError, ValueError) as error:
            raise Damaged(f"{path}: damaged, or not of coset ({error}); remove it and start again") from None
        if not isinstance(about, dict) or about.get("kind") != kind:
            raise Damaged(f"{path}: not a {kind} that coset wrote")
        version = about.get("version")
        if isinstance(version, int) and version > _VERSION:
            raise InputError(f"{path}: written by a newer coset (version {version}, this one reads {_VERSION})")
        if (digest := about.pop("sha256", None)) != _digest(names, file.get_tensor, about):
            raise Damaged(f"{path}: damaged, its contents do not match their checksum; remove it and start again")
        yield Saved(Path(path), about["header"], names, file.get_tensor, digest)


def _digest(names: Iterable[str], tensor_of: Callable[[str], Tensor], about: Mapping[str, object]) -> str:
    found = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(names):
        tensor = tensor_of(name)
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)};".encode())
        found.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return found.hexdigest()


@dataclass(frozen=True)
class Rotation:
    """The last few checkpoints of a run, in a folder of their own, each named by the step it was taken at.

    Args:
        folder: made when the first is written.
        keep: how many are kept; older ones are removed once a newer one is written.
    """

    folder: Path
    keep: int = 2

    def save(self, step: int, tensors: Mapping[str, Tensor], header: Mapping[str, object]) -> Path:
        """Write the checkpoint of a step, then remove those that are too old."""
        path = self.folder / f"checkpoint-{step:012d}.safetensors"
        save(path, "checkpoint", tensors, header)
        for _, old in self._found()[: -self.keep]:
            old.unlink(missing_ok=True)
        return path

    @contextmanager
    def latest(self) -> Iterator[Saved | None]:
        """The newest checkpoint that is whole, or None where there is none.

        A damaged one is renamed, with a warning, and the one before it is used.
        """
        sweep(self.folder)
        with ExitStack() as stack:
            saved = None
            while saved is None and (found := self._found()):
                path = found[-1][1]
                try:
                    saved = stack.enter_context(opened(path, "checkpoint"))
                except Damaged as error:
                    path.rename(path.with_suffix(".damaged"))
                    then = (
                        "the one before it is used"
                        if len(found) > 1
                        else "there is none before it, so this run begins anew"
                    )
                    sentence = str(error).removesuffix("; remove it and start again")
                    warnings.warn(f"{sentence}; {then}", stacklevel=4)
            yield saved

    def clear(self) -> None:
        """Remove all checkpoints, damaged ones too, and the folder."""
        if not self.folder.is_dir():
            return
        for path in self.folder.iterdir():
            path.unlink(missing_ok=True)
        self.folder.rmdir()

    def _found(self) -> list[tuple[int, Path]]:
        """Steps and files, the oldest first."""
        if not self.folder.is_dir():
            return []
        matches = [(re.fullmatch(r"checkpoint-(\d+)\.safetensors", path.name), path) for path in self.folder.iterdir()]
        return sorted((int(match[1]), path) for match, path in matches if match)
