"""`deep_hash`: no table at all; a small network turns hashes of an id into its vector."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coset import formulas
from coset.formulas import Formula
from coset.methods.base import Method, TableModule, make, register
from coset.methods.facts import Facts
from coset.methods.rows import drawn, widen
from coset.methods.sizing import Sizes
from coset.partitions import MAX_SEED, hash_words
from coset.schema import Component, LookupBytes, Table
from coset.storage import StoredRows

_MISH_POWER = 0.4523421923758826
"""Mean square of mish(z), z normal with deviation 1."""
_MOST_HIDDEN, _MOST_LAYERS = 8192, 1000


@register("deep_hash")
@dataclass(frozen=True)
class DeepHash(Method):
    """Deep hash embedding, DHE (Kang et al., 2021, arXiv 2010.10784): k hashes of the id, as numbers uniform in
    ±√3, go through a network with mish between its layers.

    The last layer begins so that vectors have the deviation of the table. The paper's batch normalisation is left out,
    since with it the vector of an id would depend on the ids beside it.

    Bytes: `(k · h + (layers - 1) · h² + h · dim + layers · h + dim) · itemsize`, whatever the number of ids.
    Operations: k hashes and as many multiplications as there are weights, far more than any other method. Vectors are
    unique with high probability. Prefer it only where there are more ids than a table can hold and lookups may be slow.

    Args:
        hidden: h, width of the hidden layers.
        num_hashes: k, numbers that describe an id; the paper takes 1024.
        layers: how many hidden layers.
        seed: which hash functions, 0 … 2^32 - 2.

    Example:
        >>> from coset.schema import Table
        >>> DeepHash(hidden=32, num_hashes=64).bytes(Table("user", 6040, 16)) // 4
        3664
    """

    hidden: int
    num_hashes: int = 128
    layers: int = 2
    seed: int = 0

    costly: ClassVar[bool] = True
    worth: ClassVar[float] = 0.2

    facts: ClassVar[Facts] = Facts(
        paper="Kang et al., 2021, arXiv 2010.10784",
        formula="network(h_1(i) … h_k(i))",
        elements="k · h + (L - 1) · h² + h · D + L · h + D with L layers, whatever n",
        operations="k hashes, as many multiplications as weights",
        uniqueness="probable",
        prefer="more ids than a table can hold; slow lookups must be acceptable",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._at_least(1, "hidden", "num_hashes", "layers")
        self._at_least(0, "seed")
        self._at_most(MAX_SEED - 1, "seed")
        self._at_most(_MOST_LAYERS, "layers")

    def widths(self, table: Table) -> list[int]:
        """Of the input, each hidden layer and the output."""
        return [self.num_hashes, *[self.hidden] * self.layers, table.embedding_dim]

    def components(self, table: Table) -> list[Component]:
        """Weight and bias of every layer."""
        widths, keep = self.widths(table), self.storage.components
        found = []
        for number, (inward, outward) in enumerate(pairwise(widths)):
            found += keep(f"layers.{number}", inward, outward, table.dtype)
        for number, outward in enumerate(widths[1:]):
            found += keep(f"biases.{number}", 1, outward, table.dtype)
        return found

    def lookup_bytes(self, table: Table) -> LookupBytes:
        """The encoding, the outputs of hidden layers twice, and the hashes that the encoding is made of."""
        encoded, *hidden, out = (width * table.dtype.itemsize for width in self.widths(table))
        layers = 2 * max(hidden) + 2 * out
        return LookupBytes(encoded + 2 * sum(hidden), max(24 * self.num_hashes, layers), layers)

    def formula(self, table: Table) -> Formula:
        """Hashes, and the layers with mish between them."""
        found = formulas.hashes(self.num_hashes, self.seed)
        for number in range(self.layers + 1):
            given = found if number == 0 else formulas.activated(found, "mish")
            found = formulas.projected(given, f"layers.{number}", f"biases.{number}")
        return found

    def build(self, table: Table) -> DeepHashModule:
        """A fresh module."""
        return DeepHashModule(table, self)

    @classmethod
    def sizes(cls, table: Table, **fixed: Any) -> Sequence[Self]:
        """Any width from 1 to the last that is no larger than the full table, at most 8192; with four times as many
        hashes as the width, up to the paper's 1024."""
        if "hidden" in fixed:
            return [make(cls, fixed)]
        all_sizes = Sizes(
            range(1, _MOST_HIDDEN + 1),
            lambda hidden: make(cls, {"hidden": hidden, "num_hashes": min(1024, 4 * hidden)} | fixed),
        )
        return all_sizes[: max(1, bisect_right(all_sizes, table.full_bytes, key=lambda method: method.bytes(table)))]

    @classmethod
    def examples(cls, table: Table) -> list[Self]:
        """One hidden layer and two."""
        return [cls(8, 12), cls(6, 8, 1, seed=5)]


class DeepHashModule(TableModule):
    """The layers."""

    _last: tuple[Tensor | None, Tensor | None] | None = None

    def __init__(self, table: Table, method: DeepHash) -> None:
        super().__init__(table, method)
        self.seed, self.num_hashes = method.seed, method.num_hashes
        widths, build = method.widths(table), method.storage.build
        self.layers = nn.ModuleList(build(inward, outward, table.dtype) for inward, outward in pairwise(widths))
        self.biases = nn.ModuleList(build(1, outward, table.dtype) for outward in widths[1:])
        self.ids_at_once = 4096
        self.reset_parameters()

    def lookup(self, ids: Tensor) -> Tensor:
        """Vectors of `ids`."""
        values: Tensor | None = None
        for layer, bias in zip(self._arrays(self.layers), self._arrays(self.biases), strict=True):
            given = self._encode_once(ids).to(layer.dtype) if values is None else F.mish(values)
            values = widen(given, layer.whole(), bias.whole())
        assert values is not None
        return values

    def _arrays(self, modules: nn.ModuleList) -> list[StoredRows]:
        return cast("list[StoredRows]", list(modules))

    def _fit(self, weight: Tensor, share: Tensor) -> None:
        """By gradient descent; where every step is given the same ids, these are encoded once."""
        self._last = (None, None)
        try:
            super()._fit(weight, share)
        finally:
            self._last = None

    def _encode_once(self, ids: Tensor) -> Tensor:
        """The codes of ids; while tables are fitted, those of the last call where these are the same ids."""
        if self._last is None:
            return self._encode(ids)
        known, codes = self._last
        if codes is None or known is not ids:
            self._last = ids, (codes := self._encode(ids))
        return codes

    def _encode(self, ids: Tensor) -> Tensor:
        """k numbers an id, uniform in ±√3, shape `(*ids.shape, k)`: universal hashes `(a_j x + b_j y) mod 2^32` of two
        words x and y that are hashed of the id, since k full hashes would take longer than the network."""
        number = torch.arange(self.num_hashes, device=ids.device)
        x, y = (hash_words(ids, seed) >> 1 for seed in (self.seed, self.seed + 1))
        a, b = (hash_words(number, seed) >> 1 | 1 for seed in (self.seed, self.seed + 1))
        words: Tensor = (x.unsqueeze(-1) * a + y.unsqueeze(-1) * b) & 0xFFFFFFFF
        return (words.to(torch.float32) / 2**31 - 1) * 3**0.5

    @torch.no_grad()
    def reset_parameters(self) -> None:
        """Weights that keep the mean square from layer to layer; the last layer brings it to that of the table."""
        power = 1.0
        layers = self._arrays(self.layers)
        for number, layer in enumerate(layers, start=1):
            std = (layer.rows * power) ** -0.5
            layer.draw_(drawn(std * self.table.std if number == len(layers) else std, "normal"))
            power = _MISH_POWER
        for bias in self._arrays(self.biases):
            bias.draw_(nn.init.zeros_)
