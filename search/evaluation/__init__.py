"""A candidate to its scores: the generator makes the images, the metrics score them, and a cache keeps the scores.

It knows neither Optuna nor MLflow.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.evaluation.evaluator import Evaluation, Evaluator, Evaluators, OnImages, Task

__all__ = ["Evaluation", "Evaluator", "Evaluators", "OnImages", "Task"]


def __getattr__(name: str) -> Any:
    """Those names, once they are asked for: NumPy comes with them, and a command's help needs none."""
    if name not in __all__:
        raise AttributeError(f"module 'search.evaluation' has no attribute {name!r}")
    return getattr(import_module("search.evaluation.evaluator"), name)
