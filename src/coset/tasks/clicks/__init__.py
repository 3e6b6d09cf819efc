"""Clicks: DLRM and DCN on prepared logs."""

from coset.tasks.clicks.choice import ModelChoice
from coset.tasks.clicks.rows import ClickRows
from coset.tasks.clicks.source import ClickSource
from coset.tasks.clicks.task import ClicksTask

__all__ = ["ClickRows", "ClickSource", "ClicksTask", "ModelChoice"]
