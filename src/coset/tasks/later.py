"""A finished run as its task sees it, and the rows to score it on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, Literal

from coset.documents import Json
from coset.errors import unknown
from coset.tasks.rows import PARTS
from coset.tasks.types import ModelT

PartOrAll = Literal["validation", "training", "all"]


def part_named(name: str | None) -> PartOrAll | None:
    """The part of that name, or `"all"`; None for None.

    Raises:
        InputError: there is no such part.
    """
    known: tuple[PartOrAll, ...] = (*PARTS, "all")
    for part in known:
        if part == name:
            return part
    if name is not None:
        raise unknown("part", str(name), known)
    return None


@dataclass(frozen=True)
class Scored:
    """The rows to score a finished run on.

    Args:
        source: the data; those of the run by default.
        columns: names of columns and the separator, where they differ from those of the run.
        part: `"validation"`, the default for the data of the run; `"training"`; or `"all"`, the default for others.
        data: where the data of the run are now, if they were moved.
    """

    source: str | None = None
    columns: Mapping[str, str | None] = field(default_factory=dict)
    part: PartOrAll | None = None
    data: str | None = None

    def __post_init__(self) -> None:
        part_named(self.part)  # raises for an unknown one


@dataclass(frozen=True)
class Trained(Generic[ModelT]):
    """A finished run, as its task sees it.

    Args:
        folder: of the run.
        model: as it was trained.
        about: the contents of `run.json`.
        header: what the task saved beside the model.
        metrics: the contents of `metrics.json`.
    """

    folder: Path
    model: ModelT
    about: Json = field(repr=False)
    header: Json = field(repr=False)
    metrics: Json = field(repr=False)
