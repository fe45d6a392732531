"""What is written: a study's folder, Optuna's database, the place of MLflow's data. Files are whole or not there.

The lowest room: it imports no other.
"""

from search.storage.study_folder import StudyFolder, studies
from search.storage.trial_record import TrialRecord, Value

__all__ = ["StudyFolder", "TrialRecord", "Value", "studies"]
