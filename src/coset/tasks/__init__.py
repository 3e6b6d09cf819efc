"""Tasks: what makes a kind of experiment, one file or folder each.

`coset.tasks.ratings` and `coset.tasks.clicks` are coset's own. Tasks of other packages are found through the
entry-point group `coset.tasks`.
"""

from coset.tasks.base import Task, measures
from coset.tasks.inspection import Inspection
from coset.tasks.later import Scored, Trained
from coset.tasks.metric import Metric, Scores
from coset.tasks.registry import metrics, register_task, task_class, tasks
from coset.tasks.rows import Batch, FastSteps, Part, PartName, Running
from coset.tasks.sections import overridden
from coset.tasks.served import Served
from coset.tasks.settings import Order, TrainingSettings

__all__ = [
    "Batch",
    "FastSteps",
    "Inspection",
    "Metric",
    "Order",
    "Part",
    "PartName",
    "Running",
    "Scored",
    "Scores",
    "Served",
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
