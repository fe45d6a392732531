"""Presets: the YAML read back whole, and no format written that its tool would read as something else."""

from __future__ import annotations

import ast
import json
import stat
import string
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import UserError
from freeu import presets
from freeu.controls import Controls
from freeu.factors import Factors
from freeu.presets import Preset, PresetError
from freeu.presets.yaml import BY_HAND

FACTORS = Factors(1.3, 1.4, 0.9, 0.2)
CONTROLS = Controls(stop=0.7, threshold=(1, 2, 1), symmetric=True)
BLOCK = Factors(1.2, 1.4, 0.9, 0.2, version="v1", stages="block")
PRESET = Preset(
    FACTORS,
    model="sdxl",
    model_identity="ab" * 32,
    study="sunday",
    pick="knee",
    scores={"clip": {"value": 0.31, "base": 0.3, "difference": 0.01, "low": -0.01, "high": 0.03, "n": 48}},
    created="2026-11-23T08:00:00+00:00",
)

number = st.floats(-1, 10)
text = st.text(st.characters(), max_size=30)  # halves of surrogate pairs too
factors = st.builds(
    Factors, number, number, number, number, version=st.sampled_from(["v1", "v2"]),
    stages=st.sampled_from(["width", "block"]), controls=st.sampled_from([Controls(), CONTROLS]),
)  # fmt: skip
finite = st.none() | st.floats(allow_nan=False, allow_infinity=False)
score = st.fixed_dictionaries(
    {"value": st.floats(allow_nan=False, allow_infinity=False)},
    optional={"low": finite, "p": finite, "n": st.integers()},
)
filled = text.filter(bool) | st.none()
any_preset = st.builds(
    Preset, factors, model=text, model_identity=text, study=filled, pick=filled, created=filled,
    scores=st.dictionaries(text, score, max_size=3),
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(preset=any_preset)
def test_yaml_comes_back_as_it_went(tmp_path: Path, preset: Preset) -> None:
    file = tmp_path / "preset.yaml"
    presets.write(preset, file, "yaml")
    assert presets.read(file) == preset


def test_yaml_says_what_the_numbers_mean(tmp_path: Path) -> None:
    presets.write(PRESET, tmp_path / "p.yaml", "yaml")
    lines = (tmp_path / "p.yaml").read_text().splitlines()
    assert "  version: v2" in lines and "  stages: width" in lines and "study: sunday" in lines
    assert [file.name for file in tmp_path.iterdir()] == ["p.yaml"]  # no temporary file left


@pytest.mark.parametrize("change, said", [
    (lambda t: t + "modle: x\n", "did you mean 'model'"),
    (lambda t: t.replace("freeu_preset: 1", "freeu_preset: 9"), "no preset of version 1"),
    (lambda t: t.replace("freeu_preset: 1", ""), "lacks freeu_preset,"),
    (lambda t: t.replace("  version: v2\n", ""), "lacks version,"),
    (lambda t: t.replace("  stages: width\n", ""), "lacks stages,"),
    (lambda t: t.replace("b1: 1.3", "b1: .nan"), "line 6: .nan is not a finite number"),
    (lambda t: t.replace("b1: 1.3", "b3: 1.3"), "b3"),
    (lambda t: t.replace("value: 0.31", "valeu: 0.31"), "did you mean 'value'"),
    (lambda t: t.replace("value: 0.31", "value: .inf"), ".inf is not a finite number"),
    (lambda t: t.replace("value: 0.31", "value: high"), "expected a number"),
    (lambda t: t.replace("    value: 0.31\n", ""), "has no value"),
    (lambda t: t.replace("model: sdxl", "model: [a]"), "expected text"),
    (lambda t: t.replace("model: sdxl\n", ""), "lacks model,"),
    (lambda t: t.replace("sunday", "!!python/object/apply:os.getcwd []"), "YAML"),
    (lambda t: "factors: [", "YAML"),
    (lambda t: "", "lacks freeu_preset, model, factors, version, stages"),
    (lambda t: "{b1: 1.3, b2: 1.4, s1: 0.9, s2: 0.2}", "by hand, a preset reads {freeu_preset: 1, model:"),
])  # fmt: skip
def test_a_damaged_preset_is_told(tmp_path: Path, change, said: str) -> None:
    file = tmp_path / "p.yaml"
    before = presets.render(PRESET, "yaml")
    file.write_text(change(before))
    assert file.read_text() != before
    with pytest.raises(UserError) as error:
        presets.read(file)
    assert said in str(error.value) and "p.yaml" in str(error.value)


def test_what_is_no_preset_by_far_is_not_read_whole(tmp_path: Path) -> None:
    """A checkpoint, say, or a device."""
    with (file := tmp_path / "sdxl.safetensors").open("wb") as stream:
        stream.truncate(7 * 2**30)
    for place in file, Path("/dev/zero"):
        with pytest.raises(UserError, match=f"{place} is too large: at most 128 MiB are read"):
            presets.read_all(place)


def test_a_preset_may_be_written_by_hand_as_the_error_says(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(BY_HAND.partition("reads ")[2])
    assert presets.read(tmp_path / "p.yaml").factors == Factors(1.3, 1.4, 0.9, 0.2)


def test_the_snippet_for_diffusers_calls_it_with_these_factors() -> None:
    class Pipe:
        def enable_freeu(self, s1: float, s2: float, b1: float, b2: float) -> None:
            self.got = (b1, b2, s1, s2)

    space: dict = {}
    exec(presets.render(replace(PRESET, factors=BLOCK), "diffusers"), space)
    space["apply"](pipe := Pipe())
    assert pipe.got == (1.2, 1.4, 0.9, 0.2)


@given(name=text)
def test_no_name_gets_out_of_the_comment(name: str) -> None:
    code = presets.render(replace(PRESET, factors=BLOCK, model=name, study=name or None, pick=name), "diffusers")
    assert [type(node) for node in ast.parse(code).body] == [ast.FunctionDef]
    assert set(code) <= set(string.printable)


@pytest.mark.parametrize("wrong", [
    replace(BLOCK, version="v2"), replace(BLOCK, stages="width"), replace(BLOCK, s2=0.0), replace(BLOCK, b1=-0.0),
    replace(BLOCK, controls=CONTROLS),
])  # fmt: skip
def test_diffusers_refuses_what_it_would_misread(wrong: Factors) -> None:
    with pytest.raises(PresetError, match="--format yaml"):
        presets.render(replace(PRESET, factors=wrong), "diffusers")


@pytest.mark.parametrize("version, node", [("v1", "FreeU"), ("v2", "FreeU_V2")])
def test_the_node_for_comfyui(version, node: str) -> None:
    found = json.loads(presets.render(replace(PRESET, factors=replace(FACTORS, version=version, s2=0.0)), "comfyui"))
    inputs = {"model": ["4", 0], "b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.0}
    assert found == {"freeu": {"class_type": node, "inputs": inputs, "_meta": {"title": node}}}


@pytest.mark.parametrize(
    "wrong, said",
    [
        (replace(FACTORS, stages="block"), "by block"),
        (replace(FACTORS, s1=-0.5), "s1 = -0.5"),
        (replace(FACTORS, controls=CONTROLS), "sets stop, threshold, symmetric besides"),
    ],
)
def test_comfyui_refuses_what_it_would_misread(wrong: Factors, said: str) -> None:
    with pytest.raises(PresetError, match=said):
        presets.render(replace(PRESET, factors=wrong), "comfyui")


def test_unknown_formats_name_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'comfyui'"):
        presets.render(PRESET, "comfy-ui")


def test_a_refused_preset_leaves_the_old_file(tmp_path: Path) -> None:
    file = tmp_path / "p.py"
    file.write_text("old")
    with pytest.raises(PresetError):
        presets.write(PRESET, file, "diffusers")
    assert file.read_text() == "old"


@pytest.mark.parametrize("place", ["", "file/p.yaml", "x" * 300])
def test_a_place_that_cannot_be_written_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="can't write"):
        presets.write(PRESET, tmp_path / place, "yaml")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("mode", [0o600, 0o664])
def test_a_file_and_its_backup_have_the_mode_that_it_had(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "config.json"  # of SD.Next, which may hold tokens
    file.write_text('{"token": "x"}')
    file.chmod(mode)
    backup = presets.write(replace(PRESET, factors=BLOCK), file, "sdnext")
    assert backup is not None and json.loads(file.read_text())["token"] == "x"
    assert [stat.S_IMODE(one.stat().st_mode) for one in (file, backup)] == [mode, mode]


def test_what_a_link_leads_to_is_written(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    real, link = tmp_path / "data" / "real.json", tmp_path / "config.json"
    real.write_text('{"theme": "dark"}')
    link.symlink_to("data/real.json")
    backup = presets.write(replace(PRESET, factors=BLOCK), link, "sdnext")
    assert link.is_symlink() and set(json.loads(real.read_text())) >= {"theme", "freeu_b1"}
    assert backup is not None and backup.samefile(tmp_path / "data" / "real.json.bak")
    assert backup.read_text() == '{"theme": "dark"}'
    assert {one.name for one in tmp_path.iterdir()} == {"config.json", "data"}


def test_a_link_to_nothing_gets_its_file_and_one_to_itself_is_told(tmp_path: Path) -> None:
    link, loop = tmp_path / "link.yaml", tmp_path / "loop.yaml"
    link.symlink_to("new.yaml")
    loop.symlink_to("loop.yaml")
    presets.write(PRESET, link, "yaml")
    assert link.is_symlink() and presets.read(tmp_path / "new.yaml") == PRESET
    with pytest.raises(UserError, match=r"can't write .*loop\.yaml"):
        presets.write(PRESET, loop, "yaml")
    assert loop.is_symlink()
