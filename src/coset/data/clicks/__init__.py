"""Click logs: labels, numbers and categories, in columns on disk, streamed in batches.

schema, settings   what the columns of a log are, and how it is prepared
forms              recognises a log by its first lines; `atomic` reads the header of a RecBole file
prepare            a log (`logs`, with labels or without: `labels`) → a folder of columns of numbers, in two steps;
                   `choices` the choices of a begun preparation, `ways` advice where one fails
read               the first: text, libsvm and libffm or Parquet (`source`, `text`, `sparse`, `parquet`, `block`) →
                   numbers of categories (`numbering`) in files that only grow (`journal`)
finish             the second: counts and ids by frequency (`vocabulary`), columns of both parts (`parts`, `columns`)
write              such a folder out of chunks of rows; `synthetic` such a folder, made up; `sample` part of one
described          the description of such a folder, with checksums
store such a folder, opened; `batch` the rows of one step, in the order of `order`, read ahead by `stream`

The names below load lazily, so `import coset.data.clicks` itself costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from coset.lazy import handing_on

if TYPE_CHECKING:
    from coset.data.clicks.batch import ClickBatch
    from coset.data.clicks.sample import write_sample
    from coset.data.clicks.schema import CRITEO_KAGGLE, ClickSchema, load_schema
    from coset.data.clicks.settings import PrepareSettings
    from coset.data.clicks.store import ClickData, ClickPart, Feature
    from coset.data.clicks.synthetic import CRITEO_KAGGLE_CARDINALITIES, ClickLaw, write_synthetic
    from coset.data.clicks.vocabulary import ClickVocabulary
    from coset.data.clicks.write import ClickWriter

_HOMES = {
    "CRITEO_KAGGLE": "schema",
    "CRITEO_KAGGLE_CARDINALITIES": "synthetic",
    "ClickBatch": "batch",
    "ClickData": "store",
    "ClickLaw": "synthetic",
    "ClickPart": "store",
    "ClickSchema": "schema",
    "ClickVocabulary": "vocabulary",
    "ClickWriter": "write",
    "Feature": "store",
    "PrepareSettings": "settings",
    "load_schema": "schema",
    "write_sample": "sample",
    "write_synthetic": "synthetic",
}

__all__ = [
    "CRITEO_KAGGLE",
    "CRITEO_KAGGLE_CARDINALITIES",
    "ClickBatch",
    "ClickData",
    "ClickLaw",
    "ClickPart",
    "ClickSchema",
    "ClickVocabulary",
    "ClickWriter",
    "Feature",
    "PrepareSettings",
    "load_schema",
    "write_sample",
    "write_synthetic",
]


if not TYPE_CHECKING:  # to a type checker, only the names above are there
    __getattr__, __dir__ = handing_on(__name__, _HOMES)
