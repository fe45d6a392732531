"""Asks for factors, has them evaluated, records and decides. Sits on `freeu` and `metrics`; nothing sits on it.

    study = search.run(model="sdxl", trials=64)
    study.verdict, study.picks, study.report(), study.export("comfyui")
    search.load("sdxl").trials

Importing it loads nothing heavy. `search.run` is also the module of the command `python -m search.run`: it is called
as a function (see the end of search/run.py).
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from configs import UserError
from configs.environment import ask_libraries

if TYPE_CHECKING:
    from search.python import Study, Trial, load, run

__all__ = ["Study", "Trial", "UserError", "load", "run"]

_HOMES = {"Study": "search.python", "Trial": "search.python", "load": "search.python"}

ask_libraries()  # here, since a worker on another machine runs no command


def __getattr__(name: str) -> Any:
    if name == "run":
        return import_module("search.run")
    if name not in _HOMES:
        raise AttributeError(f"module 'search' has no attribute {name!r}")
    value = getattr(import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
