"""Index state: whole numbers that say where to look, given together with a table and never trained."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import torch
from torch import Tensor, nn

from coset.errors import InputError


class Indexed(nn.Module):
    """A module with index state in its buffers, which it can restore.

    Parameters can be drawn anew; an order or a column of codes cannot. So the module keeps it as it was given, for
    buffers that begin on the meta device or in uninitialised memory (`to_empty`). On the CPU both are one array.
    """

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Tensor | None] = {}
        """Index state by the name of its buffer, on the CPU; None where it was given on the meta device, without
        values."""

    def give(self, name: str, values: Tensor, device: torch.device) -> None:
        """Keep `values` as index state, in a buffer of this name on `device`."""
        self.given[name] = None if values.is_meta else values.cpu()
        self.register_buffer(name, values.to(device))

    @torch.no_grad()
    def restore_index(self) -> None:
        """Fill every buffer with what was given.

        Raises:
            InputError: it was given on the meta device, and no state was loaded since.
        """
        for name, values in self.given.items():
            buffer = self.get_buffer(name)
            if values is not None:
                buffer.copy_(values)
            elif not buffer.is_meta:
                raise InputError(
                    f"{name!r} was given on the meta device, without values; load a state that has them, "
                    f"or give it as a numpy array"
                )

    def _apply(self, fn: Callable[..., Any], recurse: bool = True) -> Self:
        lost = [name for name in self.given if self.get_buffer(name).is_meta]
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        for name in lost:  # the meta device had no values to copy
            if (values := self.given[name]) is not None:
                self._buffers[name] = values.to(self.get_buffer(name).device)
        return self

    def _load_from_state_dict(self, *given: Any) -> None:
        super()._load_from_state_dict(*given)
        state, prefix = given[:2]
        for name in [name for name, values in self.given.items() if values is None and f"{prefix}{name}" in state]:
            buffer = self.get_buffer(name)
            self.given[name] = None if buffer.is_meta else buffer.cpu()


def code_of(codes: Tensor, ids: Tensor) -> Tensor:
    """The codes of `ids`, int64, of a column that is stored as `Codes.stored` says: a number or two bytes each."""
    found = codes[ids].long()
    return found if codes.dim() == 1 else found[..., 0] + 256 * found[..., 1]
