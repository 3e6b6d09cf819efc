"""Tasks by name: coset's own, and those of installed packages through the entry-point group `coset.tasks`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from coset.errors import InputError
from coset.registry import Registry

if TYPE_CHECKING:
    from coset.tasks.base import Task
    from coset.tasks.metric import Metric

    AnyTask = Task[Any, Any, Any, Any]
    """A task of unknown types, as it is found by its name."""

TASKS: Registry[AnyTask] = Registry("task", "coset.tasks")
T = TypeVar("T", bound="type[AnyTask]")


def register_task(name: str) -> Callable[[T], T]:
    """Class decorator: make a task known by `name`.

    Raises:
        InputError: its first metric, the score that it is judged by, has no better direction.
    """

    def enter(cls: T) -> T:
        if not getattr(cls, "metrics", ()) or cls.metrics[0].better is None:
            raise InputError(f"task {name!r}: its first metric is its score, which is better when lower or when higher")
        TASKS.add(name, cls)
        return cls

    return enter


def tasks() -> Mapping[str, type[AnyTask]]:
    """Every task by name: coset's own and those of installed packages."""
    return TASKS.all()


def task_class(name: object) -> type[AnyTask]:
    """The task of that name.

    Raises:
        InputError: there is none; the nearest is suggested.
    """
    return TASKS.find(name)


def metrics() -> dict[str, Metric]:
    """The metrics of all tasks by name."""
    return {metric.name: metric for task in tasks().values() for metric in reversed(task.metrics)}
