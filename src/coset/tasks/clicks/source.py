"""Where clicks come from, and how what is not prepared yet is prepared beside the runs."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from coset import settings
from coset.data.built_in import CRITEO, TWIN
from coset.data.clicks import CRITEO_KAGGLE_CARDINALITIES, ClickData, write_synthetic
from coset.data.clicks.choices import CHOICES
from coset.data.clicks.described import PREPARED
from coset.data.clicks.logs import log_files
from coset.data.clicks.prepare import prepare
from coset.data.clicks.schema import load_schema
from coset.data.clicks.settings import PrepareSettings
from coset.data.clicks.source import LogFile
from coset.data.clicks.ways import FOR_A_RUN
from coset.documents import Json
from coset.errors import InputError
from coset.files import path_of
from coset.progress import Progress


@dataclass(frozen=True)
class ClickSource:
    """Where clicks come from.

    Args:
        source: a prepared folder; or what is prepared first, in a folder beside the runs: a log, `criteo-kaggle`, or
            `synthetic-clicks`.
        schema: of a log: the name or the file of one (see `coset.data.clicks.load_schema`).
        prepare: how a log is prepared; see `PrepareSettings`.
        rows, cardinalities, skew, seed: of the synthetic twin.
    """

    source: str
    schema: str | None = None
    prepare: Mapping[str, object] = field(default_factory=dict)
    rows: int = 200_000
    cardinalities: tuple[int, ...] = CRITEO_KAGGLE_CARDINALITIES
    skew: float = 1.0
    seed: int = 0

    @property
    def is_prepared(self) -> bool:
        """Whether there is a prepared folder, if perhaps not a whole one."""
        return any((path_of(self.source) / name).exists() for name in (PREPARED, CHOICES))

    def load(self, beside: Path, progress: Progress | None = None) -> ClickData:
        """The prepared data; what has to be prepared is put below `beside`, in a folder named by all choices, where
        the next run finds it.

        Raises:
            InputError: there are no such data, or they cannot be prepared.
        """
        if self.is_prepared:
            return ClickData.open(self.source)  # which says so where the preparation did not end
        # Of what is in the schema and the log as well, so that after a change of either it is another folder.
        choices = settings.plain(self) | self._contents()
        digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]
        folder = beside / "prepared" / f"{Path(self.source).name.partition('.')[0]}-{digest}"
        if (folder / PREPARED).exists() and self.source == TWIN:
            return ClickData.open(folder)
        if self.source == TWIN:
            return write_synthetic(folder, self.rows, self.cardinalities, self.seed, skew=self.skew)
        return self._prepared(folder, progress)

    def _contents(self) -> Json:
        if self.source == TWIN:
            return {}
        schema = None if self.schema is None else settings.plain(load_schema(self.schema))
        try:
            files = log_files(self.source)
        except InputError as error:
            if self.source == CRITEO:
                raise InputError(f"{error}; or take its synthetic twin, by --set data.source={TWIN}") from None
            raise
        # The time of its last change, too: a large log is not read for it, and may have changed in the middle alone.
        found = [LogFile(shard).fingerprint() | {"changed": shard.path.stat().st_mtime_ns} for shard in files]
        return {"schema": schema, "files": found}

    def _prepared(self, folder: Path, progress: Progress | None) -> ClickData:
        chosen = settings.make(PrepareSettings, self.prepare, "prepare")
        found = prepare(self.source, folder, self.schema, chosen, resume=True, progress=progress, ways=FOR_A_RUN)
        for hint in found["hints"]:
            warnings.warn(f"{self.source}: {hint}", stacklevel=2)
        return ClickData.open(folder)
