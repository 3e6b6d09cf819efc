"""The schema of a click log: its label, numbers, categories and lists of categories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from coset import settings
from coset.data.clicks.columns import LONGEST_NAME, file_name
from coset.errors import InputError, brief, unknown
from coset.files import path_of, read_json, read_toml

CategoryType = Literal["text", "hex", "integer"]


MISSING = ":missing"
"""The ending of the name of a numeric column that marks missing values of another."""


@dataclass(frozen=True)
class ClickSchema:
    """The columns of a click log: CSV, TSV or Parquet.

    Args:
        label: the column of labels, 0 or 1.
        numeric: columns of numbers; a missing one is not 0.
        categorical: columns with one category a row; a missing one is a category of its own.
        lists: columns with any number of categories a row: a list in Parquet, a text with `list_separator` between
            the categories in other files.
        category_type: what categories are: `"text"`; `"hex"`, numbers in base 16, of any number of digits, of which
            `"0a"`, `"A"` and `"a"` are one; or `"integer"`, numbers of 64 bits, of which `"07"` and `"7"` are one.
        types: the category type of single columns, where it is another.
        integers: whether numbers must be whole numbers of 64 bits.
        time: the column for a split by time, if any: numbers, or dates with or without times as ISO 8601
            writes them (in UTC where they name no zone). It is read only for such a split.
        names: the names of all columns of a text file that has no line with names, in order; None where its first
            line has them.
        separator: between the columns of a text file, one character.
        list_separator: between the categories of a list in a text file, one character; that between the columns
            where lists stand between quotes.
        missing: marks of a missing value besides an empty field, such as `NA` or `\\N`.
        reader: the source that reads the files (see `coset.data.sources`); by default found by their first bytes.

    Example:
        >>> ClickSchema("clicked", numeric=("age",), categorical=("user", "item")).columns
        ('clicked', 'age', 'user', 'item')
    """

    label: str
    numeric: tuple[str, ...] = ()
    categorical: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()
    category_type: CategoryType = "text"
    types: Mapping[str, CategoryType] = field(default_factory=dict)
    integers: bool = False
    time: str | None = None
    names: tuple[str, ...] | None = None
    separator: str = ","
    list_separator: str = "|"
    missing: tuple[str, ...] = ()
    reader: str | None = None

    def __post_init__(self) -> None:
        settings.check(self, "schema")
        used = [self.label, *self.numeric, *self.features]
        if not self.numeric and not self.features:
            raise InputError(
                "schema: names no numeric, categorical or lists columns, so there is nothing to learn from"
            )
        if twice := sorted({name for name in used if used.count(name) > 1}):
            raise InputError(f"schema: the column {twice[0]!r} is named twice; a column has one use")
        for name in self.numeric:
            if name.removesuffix(MISSING) in self.numeric and name.endswith(MISSING):
                raise InputError(
                    f"schema: {name!r} is the name of the column that marks missing values of "
                    f"{name.removesuffix(MISSING)!r}; rename it"
                )
        for name in self.features:
            if not name or "." in name:  # names of features become names of tables
                raise InputError(f"schema: a feature needs a name without dots, not {name!r}; rename the column")
        for name in self.types:
            if name not in self.features:
                raise unknown("column with a type of its own in the schema", name, self.features)
        for what in ("separator", "list_separator"):
            value = getattr(self, what)
            if len(value) != 1 or not value.isascii() or value in '"\r\n':
                raise InputError(f"schema: {what} must be one ASCII character, not {value!r}")
        if self.lists and self.separator == self.list_separator == "\t":
            raise InputError(
                "schema: separator and list_separator are both a tab, between which no field stands in quotes; they "
                "must differ"
            )
        for word in self.missing:
            if not word or word != word.strip() or len(word) > 40 or any(c in word for c in '"\r\n'):
                raise InputError(
                    "schema: a mark of a missing value must be a word of up to 40 characters, without quotes and "
                    f"without blanks at its ends, not {brief(word)}"
                )
        for name in self.columns:
            if len(file_name(name)) > LONGEST_NAME:
                raise InputError(f"schema: the name {brief(name)} is too long for the file of a column; rename it")
        if twice := sorted({name for name in self.names or () if (self.names or ()).count(name) > 1}):
            raise InputError(f"schema: names has {brief(twice[0])} twice")

    @property
    def features(self) -> tuple[str, ...]:
        """Columns of categories, those with one a row first."""
        return self.categorical + self.lists

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns that are read: label, numbers, features and, where it is no other one, the time."""
        named = (self.label, *self.numeric, *self.features)
        return named if self.time is None or self.time in named else (*named, self.time)

    def type_of(self, feature: str) -> CategoryType:
        """The type of the categories of a feature."""
        return self.types.get(feature, self.category_type)


_CRITEO_NUMERIC = tuple(f"I{number}" for number in range(1, 14))
_CRITEO_CATEGORICAL = tuple(f"C{number}" for number in range(1, 27))

CRITEO_KAGGLE = ClickSchema(
    label="label",
    numeric=_CRITEO_NUMERIC,
    categorical=_CRITEO_CATEGORICAL,
    category_type="hex",
    integers=True,
    names=("label", *_CRITEO_NUMERIC, *_CRITEO_CATEGORICAL),
    separator="\t",
)
"""The layout of Criteo's click logs: a label, 13 whole numbers and 26 hexadecimal categories between tabs."""

SCHEMAS: dict[str, ClickSchema] = {"criteo-kaggle": CRITEO_KAGGLE}
"""Built-in schemas by name."""


def load_schema(given: str | Path) -> ClickSchema:
    """The built-in schema of that name, or the one in a TOML or JSON file.

    Raises:
        InputError: there is no such file, or a field of it is unknown or wrong.

    Example:
        >>> load_schema("criteo-kaggle").numeric[:2]
        ('I1', 'I2')
    """
    path = path_of(given)
    if path.suffix == ".json":
        found: Any = read_json(path)
    elif path.suffix == ".toml":
        found = read_toml(path)
    elif str(given) in SCHEMAS:
        return SCHEMAS[str(given)]
    else:
        raise unknown("schema (a built-in name, or a .toml or .json file)", str(given), SCHEMAS)
    return settings.make(ClickSchema, found, f"schema {path}")
