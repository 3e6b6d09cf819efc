"""Tasks by name: coset's own, and those of installed packages through the entry-point group `coset.tasks`."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, TypeVar

from coset.errors import InputError, unknown

if TYPE_CHECKING:
    from coset.tasks.base import Task
    from coset.tasks.metric import Metric

    AnyTask = Task[Any, Any, Any, Any]
    """A task of types that only it knows: what is found by a name."""

GROUP = "coset.tasks"
OWN = ("ratings", "clicks")
_known: dict[str, type[AnyTask]] = {}
T = TypeVar("T", bound="type[AnyTask]")


def register_task(name: str) -> Callable[[T], T]:
    """Class decorator that makes a task known by a name.

    Raises:
        InputError: another class has that name, or it is no name; one of letters, digits, dashes and underscores is.
    """
    if not isinstance(name, str) or not re.fullmatch(r"[a-z][a-z0-9_-]*", name):
        raise InputError(f"a task is named by small letters, digits, dashes and underscores, not {name!r}")

    def add(cls: T) -> T:
        there = _known.get(name)
        if there is not None and (there.__module__, there.__qualname__) != (cls.__module__, cls.__qualname__):
            raise InputError(
                f"two tasks are called {name!r}: {there.__module__}.{there.__qualname__} and "
                f"{cls.__module__}.{cls.__qualname__}; rename one, or uninstall its package"
            )
        if not getattr(cls, "metrics", ()) or cls.metrics[0].better is None:
            raise InputError(f"task {name!r}: its first metric is its score, which is better when lower or when higher")
        cls.name = name
        _known[name] = cls
        return cls

    return add


def tasks() -> Mapping[str, type[AnyTask]]:
    """Every task by name."""
    _load()
    return dict(_known)


def task_class(name: object) -> type[AnyTask]:
    """The task of that name.

    Raises:
        InputError: there is none; the nearest is suggested.
    """
    if name in OWN:  # without what installed packages bring
        import_module(f"coset.tasks.{name}")
        return _known[str(name)]
    known = tasks()
    if not isinstance(name, str) or name not in known:
        raise unknown("task", str(name), known)
    return known[name]


def metrics() -> dict[str, Metric]:
    """The metrics of all tasks by name."""
    return {metric.name: metric for task in tasks().values() for metric in reversed(task.metrics)}


@cache
def _load() -> None:
    for name in OWN:
        import_module(f"coset.tasks.{name}")
    for entry in entry_points(group=GROUP):
        try:
            entry.load()
        except InputError:
            raise
        except Exception as error:  # a package that fails to import is named, not shown as a trace of ours
            raise InputError(f"the task {entry.name!r} of {entry.value} cannot be loaded ({type(error).__name__}: "
                             f"{error}); mend or uninstall its package") from None  # fmt: skip
