"""Every kind of pipeline through a whole study: load, generate with FreeU on and off, score, log."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pandas as pd
import pytest
import yaml
from PIL import Image

from freeu.models import ModelSpec, load_spec
from freeu.models.catalogue import OWN
from search.storage import StudyFolder
from tests import tiny
from tests.kinds import FRAMES, GUIDANCE, KINDS, STUDIED
from tests.studies import study


def saved(spec: ModelSpec, file: Path) -> Path:
    """As a YAML of the user's, scored by the embedded model's CLIP."""
    clip = load_spec("shapes").base / "shapes" / "scorers" / "clip"
    own = spec.model_dump(mode="json", exclude={*OWN, "reference", "published"}, exclude_none=True)
    own |= {"steps": 2, "guidance": GUIDANCE, "objectives": ["clip"], "prompts": "shapes"}
    own["scorers"] = {"clip": {"kind": "open_clip", "source": f"local-dir:{clip}"}}
    file.write_text(yaml.safe_dump(own))
    return file


@pytest.mark.parametrize("kind", STUDIED)
def test_a_study(kind: str, tmp_path: Path) -> None:
    spec = STUDIED[kind](tmp_path)
    model = saved(spec, tmp_path / "model.yaml")
    said = study(model=str(model), trials=3, limit=3, mlruns=tmp_path / "mlruns", study="s")
    assert spec.kind.replace("-", " ") in said
    folder = StudyFolder(tmp_path / "mlruns", "s")
    records = folder.read_trials()
    assert [record.state for record in records] == ["COMPLETE"] * 3
    assert len({record.values["clip"].value for record in records}) == 3  # FreeU acts, and differently
    assert len(pd.read_parquet(folder.scores_file(0))) == 3
    with Image.open(folder.grid_file(0)) as grid:
        assert getattr(grid, "n_frames", 1) == (FRAMES if spec.kind.endswith("video") else 1)
    client = mlflow.MlflowClient(f"sqlite:///{tmp_path}/mlruns/mlflow.db")
    (experiment,) = (each for each in client.search_experiments() if each.name != "Default")
    runs = client.search_runs([experiment.experiment_id], "tags.`freeu.trial` != ''")
    assert sorted(run.data.metrics["clip"] for run in runs) == pytest.approx(
        sorted(record.values["clip"].value for record in records)
    )


def test_pictures_with_captions_are_begun_from(tmp_path: Path) -> None:
    """A folder of pictures is a prompt set and the images' beginnings in one."""
    pictures = tiny.clip_of_a_ball(tmp_path / "pictures", frames=8)
    for i, file in enumerate(sorted(pictures.iterdir())):
        file.rename(pictures / f"a_ball_that_moved_{i}.png")
    model = saved(KINDS["sd"](tmp_path), tmp_path / "model.yaml")
    said = study(model=str(model), prompts=str(pictures), trials=2, limit=4, mlruns=tmp_path / "mlruns", study="s")
    assert "image to image" in said and "'pictures'" in said
    table = pd.read_parquet(StudyFolder(tmp_path / "mlruns", "s").scores_file(0))
    assert all(prompt.startswith("a ball that moved") for prompt in table["prompt"])
    # Other pictures under the same names are another study.
    for file in pictures.iterdir():
        Image.new("RGB", (32, 32), (9, 90, 200)).save(file)
    with pytest.raises(Exception, match="weights"):
        study(model=str(model), prompts=str(pictures), trials=3, limit=4, mlruns=tmp_path / "mlruns", study="s")
