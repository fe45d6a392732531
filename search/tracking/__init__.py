"""A study in MLflow: a parent run for the study, a child run for each trial. Nothing else imports mlflow.

MLflow is a view; `mlruns/studies/NAME` is the truth. Whatever MLflow lacks is logged again from there, as soon as
MLflow can be reached. Everything goes through `MlflowClient` with an explicit URI, so no global state is read or set,
and an `mlruns` folder elsewhere on the machine can't change where results land.

Runs are found by their tags, never by their names: `freeu.study` on the parent, `freeu.trial` on a child.
"""

from search.tracking.errors import Unreachable
from search.tracking.inputs import Input
from search.tracking.tracker import Tracker

__all__ = ["Input", "Tracker", "Unreachable"]
