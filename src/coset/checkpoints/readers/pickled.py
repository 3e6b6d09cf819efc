"""`torch`: what `torch.save` wrote, of which nothing but tensors and plain values is read."""

from __future__ import annotations

import ctypes
import mmap
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor

from coset.checkpoints.base import BYTES_AT_ONCE, Checkpoint, Entry, register_reader
from coset.checkpoints.tensors import bytes_of, entry_of
from coset.errors import InputError, brief

_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt")
_STATES = ("state_dict", "model_state_dict", "model")
"""Where training scripts and Lightning put the state of the model within a larger checkpoint."""
_CURE = "save its tensors alone where you trust it: torch.save(model.state_dict(), 'state.pt'), or safetensors"


@register_reader("torch")
class PickledFile(Checkpoint):
    """A `.pt`, `.pth`, `.bin` or `.ckpt` file, mapped into memory by `torch.load(weights_only=True)`, which runs no
    code of the file. Pages that were read are given back, so that they do not count as memory of this process."""

    _state: dict[str, Tensor]
    _maps: list[tuple[int, int]]

    @classmethod
    def claims(cls, path: Path) -> bool:
        """By its name."""
        return path.suffix in _SUFFIXES and not path.is_dir()

    @classmethod
    def open(cls, path: Path) -> Self:
        """Read the names and sizes of all tensors.

        Raises:
            InputError: also for a file that needs code of its own to be read, or of the format before torch 1.6.
        """
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        if not zipfile.is_zipfile(path):
            raise InputError(
                f"{path}: not of the format that torch.save writes since 1.6, and so it cannot be read in pieces; load "
                "it in torch and save it again"
            )
        try:
            whole = torch.load(path, weights_only=True, mmap=True, map_location="cpu")
        except Exception as error:  # of its unpickler, or of the archive
            first = str(error).strip().split("\n")[0]
            if "weights_only" in str(error) or "Unsupported" in str(error) or "WeightsUnpickler" in str(error):
                raise InputError(f"{path}: holds pickled objects beside tensors, which may run code; {_CURE}") from None
            raise InputError(f"{path}: damaged or not written by torch.save ({brief(first, quoted=False)})") from None
        state, left_out = _state(path, whole)
        entries: dict[str, Entry] = {}
        first_of: dict[Any, str] = {}
        for name, tensor in state.items():
            if tensor.layout != torch.strided or type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.is_meta:
                kind = str(tensor.layout)[6:] if tensor.layout != torch.strided else type(tensor).__name__
                raise InputError(f"{path}: tensor {name!r} is {kind}, not a plain array; save it as one first")
            of = entry_of(name, tensor.dtype, tuple(tensor.shape))
            key = (tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride()) if tensor.numel() else name
            tied = first_of.setdefault(key, name)
            entries[name] = of if tied == name else Entry(**{**vars(of), "tied": tied})
        found = cls(path, entries, left_out)
        found._state, found._maps = state, _maps(path)
        return found

    def rows(self, name: str, start: int, stop: int) -> Tensor:
        """Copied out of the map."""
        of = self.entry(name)
        tensor = self._state[name].detach()
        part = (tensor if of.shape else tensor.reshape(1))[start:stop]
        found = part.reshape(stop - start, of.width).clone(memory_format=torch.contiguous_format)
        self._give_back(part)
        return found

    def copied(self, name: str) -> Iterator[bytes | memoryview]:
        """Rows by rows."""
        of = self.entry(name)
        row = max(1, of.bytes // max(1, of.rows))
        step = max(1, BYTES_AT_ONCE // row)
        for at in range(0, of.rows, step):
            found = self.rows(name, at, min(at + step, of.rows))
            if found.numel():
                yield bytes_of(found)

    def _give_back(self, part: Tensor) -> None:
        """Tell the system that the pages of a piece are not needed; what is read again comes from the file. Of memory
        that is no map of the file, the same call would lose the contents."""
        begin, end = part.data_ptr() // mmap.PAGESIZE * mmap.PAGESIZE, part.data_ptr() + part.nbytes
        if part.is_contiguous() and any(low <= begin and end <= high for low, high in self._maps):
            ctypes.CDLL(None).madvise(ctypes.c_void_p(begin), ctypes.c_size_t(end - begin), mmap.MADV_DONTNEED)


def _state(path: Path, whole: Any) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """The tensors by name, and what else there is, in words."""
    if not isinstance(whole, Mapping):
        raise InputError(f"{path}: holds a {type(whole).__name__}, not tensors by name; {_CURE}")
    within = next((key for key in _STATES if _has_tensors(whole.get(key))), None)
    state = whole if within is None else whole[within]
    tensors = {name: value for name, value in state.items() if isinstance(name, str) and isinstance(value, Tensor)}
    if not tensors:
        raise InputError(f"{path}: has no tensors by name, but {brief(list(whole)[:6])}; {_CURE}")
    rest = [str(name) for name in whole if name != within] if within else []
    rest += [f"{within}.{name}" if within else str(name) for name in state if name not in tensors]
    return tensors, tuple(rest)


def _has_tensors(value: Any) -> bool:
    return isinstance(value, Mapping) and any(isinstance(each, Tensor) for each in value.values())


def _maps(path: Path) -> list[tuple[int, int]]:
    """Where a file is mapped in the memory of this process, if the system says."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
        inode = path.stat().st_ino
    except OSError:
        return []
    fields = [line.split(maxsplit=5) for line in lines]
    mine = [each[0].split("-") for each in fields if len(each) > 5 and each[4] == str(inode)]
    return [(int(begin, 16), int(end, 16)) for begin, end in mine]
