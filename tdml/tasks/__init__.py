"""What a job trains for: how samples become batches, what their loss is, and what is reported of
it.

Any `task._target_` works that has the five functions of `Task`.
"""

from tdml.tasks.base import Metric, Task
from tdml.tasks.classification import Classification
from tdml.tasks.language import Language
from tdml.tasks.masked import Masked
from tdml.tasks.regression import Regression

__all__ = ["Classification", "Language", "Masked", "Metric", "Regression", "Task"]
