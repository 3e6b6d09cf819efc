"""The sections of a task's recipes: read from TOML or JSON, changed field by field, written as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Self, TypeVar

from coset import settings
from coset.documents import Json
from coset.errors import InputError, unknown
from coset.methods import Method, from_json
from coset.tasks.settings import TrainingSettings

S = TypeVar("S")


class Sections:
    """A frozen dataclass whose fields are the sections of a recipe, `training` among them."""

    @classmethod
    def readers(cls) -> settings.Readers:
        """The functions that read sections other than tables of fields, by the type of the section."""
        return {Method: from_json, TrainingSettings: cls.read_training}

    @classmethod
    def read_training(cls, given: object) -> TrainingSettings:
        """`[training]`: the defaults of the task with the given fields."""
        if not isinstance(given, Mapping):
            raise InputError(f"training must be a table, not {given!r}")
        return overridden(cls.default_training(), dict(given), "training")

    @classmethod
    def default_training(cls) -> TrainingSettings:
        """How models of this task are trained unless a recipe says otherwise."""
        return TrainingSettings()

    @classmethod
    def sections(cls) -> tuple[str, ...]:
        """Names of the sections."""
        return tuple(each.name for each in fields(cls))  # type: ignore[arg-type]

    @classmethod
    def read(cls, given: Json, where: str) -> Self:
        """The task of these sections, as TOML or JSON have them; errors begin with `where`."""
        return settings.make(cls, given, where, cls.readers())

    def to_json(self) -> Json:
        """The sections as plain JSON values."""
        return {name: settings.plain(getattr(self, name)) for name in self.sections()}

    def changed(self, section: str, changes: Json, where: str | None = None) -> Self:
        """The task with other fields in a section; errors begin with `where`, by default the name of the section."""
        if section not in self.sections():
            raise unknown("section of a recipe", section, self.sections())
        if not changes:
            return self
        return self.having(section, overridden(getattr(self, section), changes, where or section))

    def having(self, section: str, value: object) -> Self:
        """The task with another value for a section."""
        return replace(self, **{section: value})  # type: ignore[type-var]


def overridden(base: S, changes: Json, where: str) -> S:
    """`base` with `changes`, each checked as the field it replaces."""
    if hasattr(base, "changed"):
        changed: S = base.changed(changes, where)
        return changed
    return settings.make(type(base), {**settings.plain(base), **changes}, where)
