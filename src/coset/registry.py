"""Classes by name: coset's own, one file each in a room, and those of installed packages by entry points."""

from __future__ import annotations

import pkgutil
import re
from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any, Generic, TypeVar

from coset import settings
from coset.errors import InputError, unknown

T = TypeVar("T")


class Registry(Generic[T]):
    """The classes of one kind.

    Args:
        kind: what one of them is called in a sentence.
        room: the package whose modules have coset's own; the entry-point group of other packages has the same name,
            unless `group` says another one.
        group: of entry points.

    Example:
        >>> methods = Registry("method", "coset.methods")
        >>> methods.add("nothing", type("Nothing", (), {}))
        >>> "nothing" in methods.so_far
        True
    """

    def __init__(self, kind: str, room: str, group: str | None = None) -> None:
        self.kind, self.room, self.group = kind, room, group or room
        self._classes: dict[str, type[T]] = {}
        self._is_loaded = False

    @property
    def so_far(self) -> Mapping[str, type[T]]:
        """The classes whose modules were imported until now."""
        return self._classes

    def add(self, name: str, cls: type[T]) -> None:
        """Make a class known by a name, which becomes its attribute `name`.

        Raises:
            InputError: another class has that name, or it is no name.
        """
        if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
            raise InputError(f"a {self.kind} is named by small letters, digits, dashes and underscores, not {name!r}")
        there = self._classes.get(name)
        if there is not None and _spot(there) != _spot(cls):
            raise InputError(
                f"two {self.kind}s are called {name!r}: {_spot(there)} and {_spot(cls)}; rename one, or uninstall its "
                f"package"
            )
        cls.name = name  # type: ignore[attr-defined]
        self._classes[name] = cls

    def all(self) -> Mapping[str, type[T]]:
        """Every class by name.

        Raises:
            InputError: an installed package brings a name that is taken, or cannot be imported.
        """
        if not self._is_loaded:
            for module in pkgutil.iter_modules(import_module(self.room).__path__):
                import_module(f"{self.room}.{module.name}")
            for entry in entry_points(group=self.group):
                try:
                    entry.load()
                except InputError:
                    raise
                except Exception as error:  # a package that fails to import is named, not shown as a trace of ours
                    raise InputError(
                        f"the {self.kind} {entry.name!r} of {entry.value} cannot be loaded ({type(error).__name__}: "
                        f"{error}); mend or uninstall its package"
                    ) from None
            self._is_loaded = True
        return self._classes

    def find(self, name: object, kind: str | None = None) -> type[T]:
        """The class of that name. One of coset's own is found in the file of its name, without what installed packages
        bring.

        Args:
            name: by which it is registered.
            kind: what it is called in the error, if not `self.kind`.

        Raises:
            InputError: there is none; the nearest is suggested.
        """
        if isinstance(name, str) and name not in self._classes:
            if name.isidentifier() and find_spec(f"{self.room}.{name}"):
                import_module(f"{self.room}.{name}")
            if name not in self._classes:
                self.all()
        if not isinstance(name, str) or name not in self._classes:
            raise unknown(kind or self.kind, str(name), self.all())
        return self._classes[name]

    def from_json(self, value: object, readers: settings.Readers | None = None) -> T:
        """The dataclass that is written `{kind: name, "version": …, field: …}`; the version may be left out.

        Args:
            value: plain JSON values.
            readers: of the fields, as `coset.settings.make` takes them.
        """
        fields = dict(value) if isinstance(value, Mapping) else {}
        if not isinstance(name := fields.pop(self.kind, None), str):
            raise InputError(f'a {self.kind} is written {{"{self.kind}": "<name>", …}}, not {value!r}')
        cls: Any = self.find(name)
        version = fields.pop("version", cls.version)
        if version != cls.version or isinstance(version, bool):
            raise InputError(f"{self.kind} {name!r} is of version {version!r}; this coset knows version {cls.version}")
        made: T = settings.make(cls, fields, f"{self.kind} {name!r}", readers)
        return made


def _spot(cls: type[Any]) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"
