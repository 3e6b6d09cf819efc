"""The choice of a click model and its settings, and the model for the columns of some data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from coset import ledger, settings
from coset.data.clicks import Feature
from coset.documents import Json
from coset.errors import InputError
from coset.methods import Method
from coset.methods.full import Full
from coset.models.base import ClickModel, ClickSettings
from coset.models.clicks import build, make_settings
from coset.schema import Component, Table
from coset.tables import EmbeddingBagCollection


@dataclass(frozen=True)
class ModelChoice:
    """A click model by name, and its settings.

    Args:
        name: of the model, one of `coset.models.clicks.CLICK_MODELS`.
        layers: its settings.
        pooling: how the vectors of a multi-hot feature become one.

    In JSON and TOML the settings stand beside the name: `{ name = "dlrm", embedding_dim = 16, top = [256] }`.

    Example:
        >>> ModelChoice.from_json({"name": "dlrm", "top": [256]}).changed({"embedding_dim": 8}, "model").layers
        DLRMSettings(embedding_dim=8, std=None, bottom=(512, 256, 64), top=(256,))
    """

    name: str = "dlrm"
    layers: ClickSettings = field(default_factory=lambda: make_settings("dlrm"))
    pooling: Literal["sum", "mean"] = "sum"

    @property
    def embedding_dim(self) -> int:
        """Elements of a vector."""
        return self.layers.embedding_dim

    def to_json(self) -> Json:
        """As plain JSON values."""
        return {"name": self.name, "pooling": self.pooling, **settings.plain(self.layers)}

    @staticmethod
    def from_json(value: object) -> ModelChoice:
        """The choice that `to_json` or a person wrote; settings that are not given have their defaults.

        Raises:
            InputError: no such model, or settings that it does not have.
        """
        if not isinstance(value, Mapping):
            raise InputError(f'a click model is written {{ name = "dlrm", … }}, not {value!r}')
        given = dict(value)
        name, pooling = given.pop("name", "dlrm"), given.pop("pooling", "sum")
        if not isinstance(name, str):
            raise InputError(f"model: name must be the name of a click model, not {name!r}")
        if pooling not in ("sum", "mean"):
            raise InputError(f"model: pooling must be 'sum' or 'mean', not {pooling!r}")
        return ModelChoice(name, make_settings(name, given), pooling)

    def changed(self, changes: Mapping[str, object], where: str) -> ModelChoice:
        """The choice with other fields; a change of the model keeps the fields that all models have.

        Raises:
            InputError: fields that the model does not have.
        """
        kept = self.to_json()
        if changes.get("name", self.name) != self.name:
            kept = {name: kept[name] for name in ("pooling", *settings.fields(ClickSettings))}
        try:
            return ModelChoice.from_json(kept | dict(changes))
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def tables(self, features: Sequence[Feature]) -> list[Table]:
        """The tables of these features, in order."""
        return [self.layers.table(of.name, of.num_embeddings, frequencies=of.frequencies) for of in features]

    def build(self, features: Sequence[Feature], num_numeric: int, methods: Mapping[str, Method]) -> ClickModel:
        """The model, its weights drawn from torch's generator.

        Args:
            methods: by feature; `full` for those that are not named.

        Raises:
            InputError: a method does not fit its table, or its feature does not exist.
        """
        self._check(features, methods)
        tables = [(table, methods.get(table.name, Full())) for table in self.tables(features)]
        return build(self.name, EmbeddingBagCollection(tables, mode=self.pooling), num_numeric, self.layers)

    def components(self, features: Sequence[Feature], methods: Mapping[str, Method]) -> list[Component]:
        """The components of the tables, with nothing allocated.

        Raises:
            InputError: as `build`.
        """
        self._check(features, methods)
        tables = self.tables(features)
        return ledger.together({table.name: methods.get(table.name, Full()).components(table) for table in tables})

    def _check(self, features: Sequence[Feature], methods: Mapping[str, Method]) -> None:
        names = [of.name for of in features]
        if stray := [name for name in methods if name not in names]:
            raise InputError(f"there is a method for feature {stray[0]!r}, and the data have {', '.join(names)}")
