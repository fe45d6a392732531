"""The published factors: one truth, told in freeu.PUBLISHED and in the models' configs."""

from __future__ import annotations

import pytest

import configs
import freeu


@pytest.mark.parametrize("model", freeu.PUBLISHED)
def test_the_models_config_gives_the_same(model: str) -> None:
    published = configs.read_yaml(configs.path("models", f"{model}.yaml"))["published"]
    assert published.pop("source")
    assert freeu.Factors.from_dict(published) == freeu.PUBLISHED[model]


def test_the_values_of_the_authors_readme() -> None:
    readme = {
        "sd14": freeu.Factors(1.3, 1.4, 0.9, 0.2, version="v2", stages="width"),
        "sd15": freeu.Factors(1.5, 1.6, 0.9, 0.2, version="v2", stages="width"),
        "sd21": freeu.Factors(1.4, 1.6, 0.9, 0.2, version="v2", stages="width"),
        "sdxl": freeu.Factors(1.3, 1.4, 0.9, 0.2, version="v2", stages="width"),
    }
    assert readme == freeu.PUBLISHED
