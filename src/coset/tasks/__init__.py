"""Tasks: what makes a kind of experiment, one file or folder each.

`coset.tasks.ratings` and `coset.tasks.clicks` are coset's own. Tasks of other packages are found through the
entry-point group `coset.tasks`.
"""

from coset.tasks.base import (
    Batch,
    FastSteps,
    Metric,
    Part,
    PartName,
    Running,
    Scored,
    Scores,
    Task,
    Trained,
    measures,
    overridden,
)
from coset.tasks.registry import metrics, register_task, task_class, tasks
from coset.tasks.settings import Order, TrainingSettings

__all__ = [
    "Batch",
    "FastSteps",
    "Metric",
    "Order",
    "Part",
    "PartName",
    "Running",
    "Scored",
    "Scores",
    "Task",
    "Trained",
    "TrainingSettings",
    "measures",
    "metrics",
    "overridden",
    "register_task",
    "task_class",
    "tasks",
]
