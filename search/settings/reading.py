"""Reads the settings of a run: a YAML and flags become a checked `StudyConfig`, or a sentence says what is wrong."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from configs import UserError, devices, path, quoted, read_yaml, unknown
from freeu.schedulers import canonical
from search.optimizer import samplers
from search.settings.config import FIELDS, StudyConfig
from search.settings.setting import choices_of, flag_of
from search.storage.server_address import server
from search.storage.study_folder import check_name

KEPT_ALONE = ("fingerprint", "model_given")
"""Keys that a study's own config.yaml has beside its settings."""


def load(file: str | Path | None, flags: Mapping[str, Any]) -> StudyConfig:
    """Build the settings of a run from a file and flags; flags win.

    file: a YAML (a study's own config.yaml is one), or the name of one in configs/studies. flags: by field; None is not
    given.

    Raises:
        UserError: an unreadable file, an unknown key (names the nearest known one), or an invalid value.
    """
    values: dict[str, Any] = {} if file is None else _of_file(_found(file))
    values |= {key: value for key, value in flags.items() if value is not None}
    if values.get("tracking_uri") is None:
        values["tracking_uri"] = os.environ.get("MLFLOW_TRACKING_URI") or None
    for key, field in FIELDS.items():
        known = choices_of(field)
        if known and values.get(key) is not None and values[key] not in known:
            raise unknown(key, values[key], known)
    try:
        config = StudyConfig.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = str(first["loc"][0])
        message = first["msg"].removeprefix("Value error, ")
        message = message[0].lower() + message[1:]
        where = flag_of(key, FIELDS[key]) if flags.get(key) is not None or file is None else f"{file}: {key}"
        raise UserError(f"{where} is {quoted(first['input'])}: {message}") from None
    return _checked(config)


def _found(file: str | Path) -> Path:
    """The file, or the one of that name in configs/studies. Raises UserError where there is neither."""
    given = Path(file).expanduser()
    if given.exists() or given.name != str(file) or given.suffix:
        return given
    known = {each.stem: each for each in path("studies").glob("*.yaml")}
    if str(file) not in known:
        raise unknown("settings", str(file), known)
    return known[str(file)]


def _of_file(file: Path) -> dict[str, Any]:
    """Read a YAML's settings, by field. A study's config.yaml gives the model as its command named it."""
    keys = {flag_of(key, field)[2:].replace("-", "_"): key for key, field in FIELDS.items()}
    found = {keys.get(key, key): value for key, value in read_yaml(file).items()}
    if "fingerprint" in found:
        found["model"] = found.get("model_given", found.get("model"))
        found = {key: value for key, value in found.items() if key not in KEPT_ALONE}
    for key in found:
        if key not in FIELDS:
            raise UserError(f"{file}: {unknown('key', str(key), FIELDS)}")
    return {key: value for key, value in found.items() if value is not None}


def _checked(config: StudyConfig) -> StudyConfig:
    samplers.check(config.sampler)
    if config.scheduler is not None:
        canonical(config.scheduler)
    if config.storage is not None:
        server(config.storage)
    if config.objectives is not None:
        check_objectives(config.objectives)
    if config.judges is not None:
        check_judges(config.judges)
    for flag, low in (("--low-steps", config.low_steps), ("--low-size", config.low_size)):
        if low not in (None, "auto") and not config.racing:
            raise UserError(f"{flag} {low} needs racing, whose first rung it is: leave out --no-racing")
    check_name(config.name, f"--study '{config.name}'")
    if config.device is not None:
        devices.check(config.device)
    return config


def check_objectives(objectives: Sequence[str]) -> None:
    """Raise UserError if there are no objectives, or one is there twice."""
    if not objectives:
        raise UserError("--objectives is empty: name at least one, as clip,aesthetic,fid")
    if len(set(objectives)) < len(objectives):
        raise UserError(f"--objectives {','.join(objectives)} names one twice")


def check_judges(judges: Sequence[str]) -> None:
    """Raise UserError if there are no judges, one is there twice, or "none" has company."""
    if not judges:
        raise UserError("--judges is empty: name some, as pickscore,hps, or none")
    if len(set(judges)) < len(judges):
        raise UserError(f"--judges {','.join(judges)} names one twice")
    if "none" in judges and len(judges) > 1:
        raise UserError(f"--judges {','.join(judges)}: 'none' stands alone")
