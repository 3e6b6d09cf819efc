"""The source of clicks; a log that is not prepared yet is prepared beside the runs."""

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
from coset.files import check_writable, path_of
from coset.progress import Progress


@dataclass(frozen=True)
class ClickSource:
    """Where clicks come from.

    Args:
        source: a prepared folder; or a log, `criteo-kaggle` or `synthetic-clicks`, which is prepared first, in a folder
            beside the runs.
        schema: of a log: a name or a file (see `coset.data.clicks.load_schema`).
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
        """Whether the source is a prepared folder, even if its preparation did not end."""
        return any((path_of(self.source) / name).exists() for name in (PREPARED, CHOICES))

    def load(self, beside: Path, progress: Progress | None = None) -> ClickData:
        """The prepared data. A log is prepared below `beside`, in a folder named by all choices, where the next run
        finds it.

        Raises:
            InputError: there are no such data, or they cannot be prepared.
        """
        if self.is_prepared:
            return ClickData.open(self.source)  # raises where the preparation did not end
        # With the contents of the schema and the log, so that a change of either leads to another folder.
        choices = settings.plain(self) | self._contents()
        digest = hashlib.sha256(json.dumps(choices, sort_keys=True).encode()).hexdigest()[:12]
        folder = beside / "prepared" / f"{Path(self.source).name.partition('.')[0]}-{digest}"
        if (folder / PREPARED).exists():
            if self.source == TWIN:
                return ClickData.open(folder)
        else:
            self._check_writable(folder, beside)
        if self.source == TWIN:
            return write_synthetic(folder, self.rows, self.cardinalities, self.seed, skew=self.skew)
        return self._prepared(folder, progress)

    def _check_writable(self, folder: Path, beside: Path) -> None:
        try:
            check_writable(folder / PREPARED)
        except InputError as error:
            raise InputError(
                f"{self.source}: coset prepares a log below {beside} first, but {error}; start coset where you may "
                "write, or name what `coset prepare` made of the log"
            ) from None

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
        # With the time of the last change: large logs are not read whole here, and may differ only in the middle.
        found = [LogFile(shard).fingerprint() | {"changed": shard.path.stat().st_mtime_ns} for shard in files]
        return {"schema": schema, "files": found}

    def _prepared(self, folder: Path, progress: Progress | None) -> ClickData:
        chosen = settings.make(PrepareSettings, self.prepare, "prepare")
        found = prepare(self.source, folder, self.schema, chosen, resume=True, progress=progress, ways=FOR_A_RUN)
        for hint in found["hints"]:
            warnings.warn(f"{self.source}: {hint}", stacklevel=2)
        return ClickData.open(folder)
