"""Sampling settings from flags, YAMLs and prompt sets, to the base model of a job."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from configs.devices import CPU
from freeu import Candidate, Factors, Sampling
from freeu.sampling import UNCHANGED
from search.evaluation.loading import _made
from search.settings.job import Job, prepare
from search.settings.reading import load
from search.study.plan import plan
from tests.search.fakes import FakeGenerator

PROMPTS = [f"a picture of thing number {i}" for i in range(24)]
FLAGS: dict[str, Any] = {
    "guidance": 4.0,
    "guidance_rescale": 0.5,
    "steps": 9,
    "scheduler": "ddim trailing",
    "eta": 0.25,
    "clip_skip": 2,
    "negative_prompt": "blurry, dull",
    "size": "64x32",
}
SAMPLING = Sampling(4.0, 0.5, 9, "DDIM trailing", 0.25, 2, "blurry, dull", (64, 32))


def job(folder: Path, yaml: Path | None = None, **flags: Any) -> Job:
    if "prompts" not in flags:
        (folder / "prompts.txt").write_text("\n".join(PROMPTS))
    return prepare(load(yaml, {"prompts": str(folder / "prompts.txt"), "mlruns": folder / "mlruns", **flags}))


def test_flags_and_yaml_keys_are_put_onto_the_model(tmp_path: Path) -> None:
    assert job(tmp_path, **FLAGS).spec.sampling == SAMPLING
    file = tmp_path / "study.yaml"
    file.write_text("".join(f"{key}: {value}\n" for key, value in FLAGS.items()))
    found = job(tmp_path, file)
    assert found.spec.sampling == SAMPLING and (found.steps, found.guidance) == (9, 4.0)
    assert job(tmp_path, file, steps=3, size="32x32").spec.sampling == Sampling(
        4.0, 0.5, 3, "DDIM trailing", 0.25, 2, "blurry, dull", (32, 32)
    )
    assert job(tmp_path).fingerprint["sampling"] == {}
    said = {"guidance_rescale": 0.5, "eta": 0.25, "clip_skip": 2, "negative_prompt": "blurry, dull", "size": "64x32"}
    assert found.fingerprint["sampling"] == said


LIKE = (
    "a cat\nNegative prompt: blurry\nSteps: 7, Sampler: Euler, Schedule type: Karras, CFG scale: 2.5, Seed: 1, "
    "Size: 64x32, Model: dream, Clip skip: 2, freeu_enabled: True, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, "
    "freeu_s2: 0.2, Hires upscale: 2"
)


@pytest.mark.parametrize(
    ("more", "flags", "said"),
    [
        ("", {}, "eta, and DPM\\+\\+ 2M takes none: give --scheduler DDIM or TCD"),
        ("", {"scheduler": "default"}, "the pipeline's own scheduler takes none"),
        ("  scheduler: [UniPC, Euler a]\n", {}, "UniPC and Euler a take none"),
    ],
)
def test_a_space_of_eta_wants_a_scheduler_that_takes_it(
    more: str, flags: dict[str, Any], said: str, tmp_path: Path
) -> None:
    (tmp_path / "space.yaml").write_text(f"sampling:\n  eta: [0, 1]\n{more}")
    with pytest.raises(UserError, match=said):
        job(tmp_path, space=str(tmp_path / "space.yaml"), **flags)


def test_like_gives_what_no_flag_gives(tmp_path: Path) -> None:
    (file := tmp_path / "like.txt").write_text(LIKE)
    found = job(tmp_path, like=str(file), steps=3, negative_prompt="dull")
    assert found.spec.sampling == Sampling(2.5, 0.0, 3, "Euler Karras", None, 2, "dull", (64, 32))
    assert job(tmp_path, like=str(file)).spec.negative_prompt == "blurry"
    assert [(origin, each) for origin, each in found.fixed if origin.startswith("like:")] == [
        (f"like:{file}", Candidate(Factors(1.3, 1.4, 0.9, 0.2)))
    ]
    lines = "\n".join(plan(found).lines())
    assert "of the web UI: guidance 2.5, 7 steps, Euler Karras" in lines and "made with the model dream" in lines
    assert "not taken   Hires upscale: 2" in lines and "its FreeU factors come first" in lines
    yaml = tmp_path / "study.yaml"
    yaml.write_text(f"like: {file}\nguidance: 4\n")
    assert job(tmp_path, yaml).spec.guidance == 4.0


def test_factors_of_another_version_are_no_candidate_and_that_is_said(tmp_path: Path) -> None:
    (file := tmp_path / "like.txt").write_text(LIKE)
    found = job(tmp_path, like=str(file), version="v1")
    assert not any(origin.startswith("like:") for origin, _ in found.fixed)
    assert "FreeU factors are not in the space" in "\n".join(plan(found).lines())


def test_a_negative_prompt_of_an_image_is_no_file(tmp_path: Path) -> None:
    (secret := tmp_path / "secret.txt").write_text("a\nb\n")
    (file := tmp_path / "like.txt").write_text(LIKE.replace("blurry", str(secret)))
    found = job(tmp_path, like=str(file))
    assert found.spec.negative_prompt == "" and found.spec.negatives == {}
    assert found.like is not None and "a negative prompt that is the name of a file" in found.like.left_out


def test_an_image_without_settings_is_refused(tmp_path: Path) -> None:
    (tmp_path / "like.txt").write_text("a cat")
    with pytest.raises(UserError, match="holds no settings"):
        job(tmp_path, like=str(tmp_path / "like.txt"))


def test_a_file_of_negative_prompts_goes_with_the_prompts(tmp_path: Path) -> None:
    file = tmp_path / "negatives.txt"
    file.write_text("".join(f"not {i}\n" for i in range(24)))
    found = job(tmp_path, negative_prompt=str(file))
    assert found.spec.negatives == {prompt: f"not {i}" for i, prompt in enumerate(PROMPTS)}
    before = found.fingerprint["sampling"]
    file.write_text("".join(f"never {i}\n" for i in range(24)))
    assert job(tmp_path, negative_prompt=str(file)).fingerprint["sampling"] != before
    file.write_text("one for all\n")
    found = job(tmp_path, negative_prompt=str(file))
    assert found.spec.negative_prompt == "one for all" and found.spec.negatives == {}


def test_a_prompt_set_brings_negatives_and_the_flag_wins(tmp_path: Path) -> None:
    table = tmp_path / "prompts.csv"
    rows = [f"{prompt},{f'no {i}' if i % 2 else ''}" for i, prompt in enumerate(PROMPTS)]
    table.write_text("\n".join(["prompt,Negative", *rows]))
    found = job(tmp_path, prompts=str(table))
    assert found.spec.negatives == {prompt: f"no {i}" for i, prompt in enumerate(PROMPTS) if i % 2}
    assert job(tmp_path, prompts=str(table), negative_prompt="dull").spec.negatives == {}
    assert job(tmp_path, prompts=str(table), negative_prompt="").spec.negatives == {}
    table.write_text("\n".join(["prompt,negative_prompt", *rows, f"{PROMPTS[1]},another"]))
    with pytest.raises(UserError, match="has two negative prompts, no 1 and another"):
        job(tmp_path, prompts=str(table))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ({"scheduler": "Eular"}, "did you mean 'Euler'"),
        ({"scheduler": "Euler a Karras"}, "give 'Euler a'"),
        ({"clip_skip": 40}, "--clip-skip 40: the model's text encoder has"),
        ({"clip_skip": 0}, "--clip-skip is 0"),
        ({"size": "100x100"}, "--size is '100x100': .*multiples of 8"),
        ({"size": "big"}, "--size is 'big': expected width and height in pixels, as 832x1216"),
        ({"eta": 0.5}, "--eta 0.5 means nothing to .*give --scheduler DDIM or TCD"),
        ({"eta": 2.0}, "--eta is 2.0"),
        ({"guidance_rescale": 1.5}, "--guidance-rescale is 1.5"),
        ({"guidance": 200.0}, "guidance is 200.0: expected a number from 0 to 100"),
        ({"steps": 2000}, "steps is 2000"),
        ({"negative_prompt": "nowhere.txt"}, "--negative-prompt nowhere.txt: no such file"),
    ],
)
def test_bad_input_is_told_before_anything_loads(flags: dict[str, Any], said: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=said):
        job(tmp_path, **flags)


@pytest.mark.parametrize("lines", [2, 23, 25])
def test_negatives_of_another_length(lines: int, tmp_path: Path) -> None:
    (tmp_path / "n.txt").write_text("dull\n" * lines)
    with pytest.raises(UserError, match=f"--negative-prompt has {lines} lines, and prompts.txt 24 prompts"):
        job(tmp_path, negative_prompt=str(tmp_path / "n.txt"))


def test_scores_are_reused_under_the_same_settings_alone(tmp_path: Path) -> None:
    def made(**flags: Any) -> dict[str, Any]:
        return _made(job(tmp_path, **flags), FakeGenerator(), {}, UNCHANGED, CPU)

    plain = made()
    assert "sampling" not in plain  # as it was kept before there were these settings
    assert made(clip_skip=2) == made(clip_skip=2)
    given = [
        {"scheduler": "Euler"},
        {"clip_skip": 2},
        {"negative_prompt": "dull"},
        {"size": "32x64"},
        {"size": "64x32"},
    ]
    keys = [json.dumps(each, sort_keys=True) for each in (plain, *(made(**flags) for flags in given))]
    assert len(set(keys)) == len(keys)
