"""What all machines of a study hold in common on its server: Optuna's attributes of the study. The first word stays."""

from __future__ import annotations

import json
from typing import Any

from optuna.storages._rdb.models import StudyModel, StudyUserAttributeModel
from sqlalchemy import Engine, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import ProgrammingError


def known(engine: Engine, study: str, key: str) -> Any:
    """What the study of that name has under a key; None where there is nothing yet, no study and no tables either."""
    asked = (
        select(StudyUserAttributeModel.value_json)
        .join(StudyModel, StudyModel.study_id == StudyUserAttributeModel.study_id)
        .where(StudyModel.study_name == study, StudyUserAttributeModel.key == key)
    )
    with engine.connect() as connection:
        try:
            found = connection.execute(asked).scalar()
        except ProgrammingError:  # nobody made Optuna's tables yet
            return None
    return None if found is None else json.loads(found)


def keep(engine: Engine, study_id: int, key: str, value: Any) -> None:
    """Keep a value of JSON's types under a key, where there is none yet: in one statement, so that a process which was
    away meanwhile can't overwrite what the others agreed on."""
    row = {"study_id": study_id, "key": key, "value_json": json.dumps(value)}
    with engine.begin() as connection:
        connection.execute(insert(StudyUserAttributeModel).values(row).on_conflict_do_nothing())
