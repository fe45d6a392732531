"""A study's runs in MLflow taken away, or given another name, as its folder is."""

from __future__ import annotations

from search.storage.mlflow_location import Settings, view_key
from search.tracking.errors import told
from search.tracking.runs import IN_STUDY, STUDY, Runs
from search.tracking.views import VIEW_STATE


def delete(settings: Settings, study: str) -> int:
    """Delete the study's run and those of its trials, as MLflow's pages do (`mlflow gc` frees their room); how many.
    Raises Unreachable, UserError."""
    if settings.own and not settings.database.exists():
        return 0
    runs = Runs(settings)
    with told("delete the study", settings):
        runs.open()
        found = runs.of_study(study)
        if found is None:
            return 0
        below = runs.of_trials(found.info.run_id)
        for run in (*below, found):
            runs.client.delete_run(run.info.run_id)
        _forget_view(runs, study)
        return 1 + len(below)


def rename(settings: Settings, study: str, name: str) -> int:
    """Give the study's run another name, and say of its trials' that they are of that study; how many runs. Raises
    Unreachable, UserError."""
    if settings.own and not settings.database.exists():
        return 0
    runs = Runs(settings)
    with told("rename the study", settings):
        runs.open()
        found = runs.of_study(study)
        if found is None:
            return 0
        below = runs.of_trials(found.info.run_id)
        for run in below:
            runs.write(run.info.run_id, tags={IN_STUDY: name})
        if found.info.run_name == study:  # one that a person gave stays
            runs.client.update_run(found.info.run_id, name=name)
        key = VIEW_STATE + view_key(study)
        before = runs.client.get_experiment(runs.experiment).tags.get(key)
        if before is not None:
            viewed = before.replace(f"'{study}'", f"'{name}'").replace(f'"{study}-', f'"{name}-')
            runs.client.set_experiment_tag(runs.experiment, VIEW_STATE + view_key(name), viewed)
            _forget_view(runs, study)
        runs.write(found.info.run_id, tags={IN_STUDY: name, STUDY: name})  # last: by this one it is found
        return 1 + len(below)


def _forget_view(runs: Runs, study: str) -> None:
    key = VIEW_STATE + view_key(study)
    if key in runs.client.get_experiment(runs.experiment).tags:
        runs.client.delete_experiment_tag(runs.experiment, key)
