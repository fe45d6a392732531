"""Fixtures that several test files share: tiny pipelines in true formats, saved once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import tiny


@pytest.fixture(scope="session")
def sd_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionPipeline; not to be changed."""
    return tiny.stable_diffusion(tmp_path_factory.mktemp("pipelines") / "tiny-sd")


@pytest.fixture(scope="session")
def sdxl_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny StableDiffusionXLPipeline with the weights' variant fp16 alone; not to be changed."""
    return tiny.sdxl(tmp_path_factory.mktemp("pipelines") / "tiny-sdxl")
