"""Fixtures that several test files share: tiny pipelines in true formats, saved once a session.

Properties are tried on the same examples each time, so that a change is judged by what it changed;
`pytest --hypothesis-profile=explore` draws others.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

from tests import tiny

os.environ.pop("COLUMNS", None)  # pytest-xdist gives its processes one, and commands print to that width

settings.register_profile("explore", settings())
settings.register_profile("same", derandomize=True)
settings.load_profile("same")


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionPipeline; not to be changed."""
    return tiny.stable_diffusion(tmp_path_factory.mktemp("pipelines") / "tiny-sd")


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionXLPipeline with the weights' variant fp16 alone; not to be changed."""
    return tiny.sdxl(tmp_path_factory.mktemp("pipelines") / "tiny-sdxl")
