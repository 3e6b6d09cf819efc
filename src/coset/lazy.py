"""Names that a package exports without loading their modules until one is used."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def handing_on(
    package: str, homes: Mapping[str, str], further: Callable[[str], Any] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names live in modules of it.

    Args:
        package: its `__name__`.
        homes: for each name, the module below the package that has it; the name of a module itself has an empty home.
        further: asked for names that are not in `homes`; raises an `AttributeError` for those that it does not know.

    Type checkers should not see what this gives, as they take a package with a `__getattr__` to have every name:
    write `if not TYPE_CHECKING:` around it, and import the names where there is type checking.

    Example:
        >>> look_up, names = handing_on("coset", {"Table": "schema"})
        >>> look_up("Table").__module__, "Table" in names()
        ('coset.schema', True)
    """

    def look_up(name: str) -> Any:
        if name in homes:
            home = homes[name]
            module = import_module(f"{package}.{home or name}")
            value = getattr(module, name) if home else module
        elif further is not None and not name.startswith("_"):
            value = further(name)
        else:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        setattr(sys.modules[package], name, value)
        return value

    def names() -> list[str]:
        module = vars(sys.modules[package])
        return sorted({*homes, *module["__all__"], *(name for name in module if name.startswith("__"))})

    return look_up, names
