"""The settings of rows in a recipe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from coset import settings
from coset.documents import Json
from coset.errors import InputError
from coset.experiments.plan_choices import Planning
from coset.methods import Method, from_json
from coset.sizes import budget_bytes


@dataclass(frozen=True)
class RowSettings:
    """Rows of a comparison: one, or one for each budget, number of collisions or dim.

    Args:
        name: of the row; with several rows, the beginning of their names.
        note: a line shown below the table.
        methods: the method of each table, by name; `full` for those not named.
        method: one method for all tables, sized by `budgets` or `collisions`: a name, or a table with its fixed fields;
            or, without these, a table with all its fields, the same for every table.
        budgets: bytes of the whole model, one row each.
        collisions: ids for each row of the largest component, one row of the comparison each.
        plan: a file with a plan; or `true`, or a table of choices (see `coset.experiments.plan_choices.Planning`), for
            a new plan within each of `budgets`.
        bits: methods and a dim within each of `budgets`, whose tables are packed in bits that are found on the training
            part; biases too.
        full_below: tables of fewer ids than this stay full; for `method` only.
        embedding_dims: dims of the model, one row each.
        model, training: changes to the recipe's `[model]` and `[training]`.
        sections: changes to the other sections of the task's `row_sections`, by name, such as `vocabulary` of ratings;
            in TOML they are beside `model`.
    """

    name: str
    note: str | None = None
    methods: Mapping[str, Method] = field(default_factory=dict)
    method: object = None
    budgets: tuple[object, ...] = ()
    embedding_dims: tuple[int, ...] = ()
    model: Json = field(default_factory=dict)
    training: Json = field(default_factory=dict)
    sections: Mapping[str, Json] = field(default_factory=dict)
    collisions: tuple[int, ...] = ()
    full_below: int | None = None
    bits: bool = False
    plan: object = None

    def __post_init__(self) -> None:
        where = f"row {self.name!r}"
        if self.plan is not None or self.bits:
            self._check_planned(where)
            return
        if not (self.method is None or isinstance(self.method, str | Mapping)):
            raise InputError(f"{where}: method must be a name or a table of fields, not {self.method!r}")
        sized = bool(self.budgets or self.collisions)
        if (self.method is None and sized) or (isinstance(self.method, str) and not sized):
            raise InputError(
                f"{where}: a method needs budgets or collisions, which size it, or all its fields; and these need a "
                f"method"
            )
        if self.budgets and self.collisions:
            raise InputError(f"{where}: budgets and collisions both size a method; leave one out")
        if (self.budgets or self.collisions) and (self.methods or self.embedding_dims):
            what = "budgets size" if self.budgets else "collisions size"
            raise InputError(f"{where}: {what} one method; leave out methods and embedding_dims")
        for number in self.collisions:
            if number < 1:
                raise InputError(f"{where}: collisions must be at least 1, not {number}")
        if self.full_below is not None and (self.method is None or self.full_below < 0):
            raise InputError(f"{where}: full_below goes with a method and is 0 or more")
        for budget in self.budgets:
            budget_bytes(budget, full=0)

    def _check_planned(self, where: str) -> None:
        sized = self.method, self.methods, self.embedding_dims, self.collisions, self.full_below
        what = "a plan sets" if self.plan is not None else "bits set"
        if any(given is not None and given != () and given != {} for given in sized):
            raise InputError(
                f"{where}: {what} every method and the dim; leave out method, methods, embedding_dims, collisions and "
                f"full_below"
            )
        if self.bits and (self.plan is not None or not self.budgets):
            raise InputError(f"{where}: bits are found within budgets, one row each, and without a plan")
        if isinstance(self.plan, str):
            if self.budgets:
                raise InputError(
                    f"{where}: the plan {self.plan} has its budget; leave out budgets, or write plan = true"
                )
        elif not self.bits and Planning.of(self.plan, f"{where}: plan") and not self.budgets:
            raise InputError(f"{where}: a plan needs budgets, or the name of a file that has one")
        for budget in self.budgets:
            budget_bytes(budget, full=0)

    @property
    def sized(self) -> bool:
        """Whether its methods are sized, and so may not fit."""
        return self.method is not None or self.plan is not None or self.bits

    @property
    def changes(self) -> dict[str, Json]:
        """The changes, by section."""
        return {"model": self.model, "training": self.training, **self.sections}

    def without(self, section: str, names: Iterable[str]) -> RowSettings:
        """The same rows without their changes to these fields of a section."""
        own = {key: value for key, value in self.changes.get(section, {}).items() if key not in names}
        if section == "model":
            return replace(self, model=own)
        if section == "training":
            return replace(self, training=own)
        return replace(self, sections={**self.sections, section: own}) if section in self.sections else self

    @staticmethod
    def read(given: Mapping[str, object], sections: Iterable[str], where: str) -> RowSettings:
        """The settings of a row in a recipe, whose task lets rows differ in these sections; errors begin with
        `where`."""
        others = {name: given[name] for name in sections if name in given and name not in ("model", "training")}
        rest = {name: value for name, value in given.items() if name not in others}
        return settings.make(
            RowSettings, {**rest, **({"sections": others} if others else {})}, where, {Method: from_json}
        )
