"""A preset's sampling settings in each format: there as the tool reads them, and back again."""

from __future__ import annotations

import json
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from configs import UserError
from freeu import presets
from freeu.factors import Factors
from freeu.presets import Preset
from freeu.presets.sampled import in_words, without
from freeu.presets.workflow import patch
from freeu.sampling import Sampling
from freeu.schedulers import named
from freeu.setting import Setting

V2, V1 = Factors(1.3, 1.4, 0.9, 0.2), Factors(1.2, 1.4, 0.9, 0.2, version="v1", stages="block")
FOUND = Sampling(6.5, 0.7, 28, "Euler a", None, 2, "blurry, dog", (832, 1216))
QUIET = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=50, derandomize=True
)
SCHEDULERS = ["Euler linspace", "DPM++ 2M Karras", "DPM++ 2M SDE exponential", "DDIM leading", "LCM trailing"]
words = st.text(st.characters(categories=["L", "N", "P", "S"]) | st.just(" "), max_size=30).map(
    lambda text: " ".join(text.split())
)
samplings = st.builds(
    Sampling,
    guidance=st.none() | st.floats(0, 100),
    guidance_rescale=st.none() | st.floats(0, 1),
    steps=st.none() | st.integers(1, 1000),
    scheduler=st.none() | st.sampled_from(SCHEDULERS),
    eta=st.none() | st.floats(0, 1),
    clip_skip=st.none() | st.integers(1, 12),
    negative_prompt=st.none() | words,
    size=st.none() | st.tuples(*[st.integers(1, 200).map(lambda n: 8 * n)] * 2),
)


@QUIET
@pytest.mark.parametrize("format", ["yaml", "sdwebui_api", "forge_api", "fooocus", "invokeai", "infotext"])
@given(sampling=samplings)
def test_what_a_format_holds_comes_back(tmp_path: Path, format: str, sampling: Sampling) -> None:
    if format == "invokeai" and sampling.scheduler not in (None, "DPM++ 2M Karras"):
        sampling = replace(sampling, scheduler="DPM++ 2M Karras")  # it has few schedules
    preset = Preset(V1 if format == "invokeai" else V2, "", sampling=sampling)
    file = tmp_path / ("p.yaml" if format == "yaml" else "p.txt")
    presets.write(preset, file, format)
    held = presets.module(format).SAMPLING
    wanted = without(sampling, [name for name in sampling.as_dict() if name not in held])
    found = presets.read(file)
    if format == "infotext" and wanted.as_dict().keys() - {"negative_prompt"}:
        wanted = replace(wanted, negative_prompt=wanted.negative_prompt or "")
        found = replace(found, sampling=replace(found.sampling, negative_prompt=found.sampling.negative_prompt or ""))
        if not {"steps", "guidance"} & wanted.as_dict().keys():
            return  # no infotext of the web UI lacks both
    elif format == "infotext":
        return
    assert (found.factors, found.sampling) == (preset.factors, wanted)
    (tmp_path / file.name).unlink()


def test_yaml_has_a_block_and_old_presets_have_none(tmp_path: Path) -> None:
    text = presets.render(Preset(V2, "sdxl", sampling=FOUND), "yaml")
    assert "\nsampling:\n  guidance: 6.5\n" in text and "  scheduler: Euler a\n" in text
    assert "sampling" not in presets.render(Preset(V2, "sdxl"), "yaml")
    (tmp_path / "p.yaml").write_text(text.replace("guidance: 6.5", "guidence: 6.5"))
    with pytest.raises(UserError, match="did you mean 'guidance'"):
        presets.read(tmp_path / "p.yaml")
    (tmp_path / "p.yaml").write_text(text.replace("steps: 28", "steps: 0"))
    with pytest.raises(UserError, match="steps is 0"):
        presets.read(tmp_path / "p.yaml")


def test_in_words() -> None:
    assert in_words(Sampling(6.5, steps=28, scheduler="Euler a")) == "guidance 6.5, 28 steps, Euler a"
    assert in_words(Sampling()) == ""
    assert (
        in_words(Sampling(clip_skip=2, size=(64, 32), negative_prompt="a\n"))
        == "clip skip 2, 64x32, negative prompt 'a\\n'"
    )


def test_the_infotext_is_what_the_web_ui_and_forge_paste() -> None:
    lines = presets.render(Preset(V2, "dream", sampling=FOUND), "infotext").splitlines()
    assert lines == [
        "Negative prompt: blurry, dog",
        "Steps: 28, Sampler: Euler a, Schedule type: Uniform, CFG scale: 6.5, Size: 832x1216, Clip skip: 2, "
        "freeu_enabled: True, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, freeu_s2: 0.2, freeu_start: 0.0, "
        'freeu_end: 1.0, FreeU Stages: "[{\\"backbone_factor\\": 1.3, \\"skip_factor\\": 0.9}, '
        '{\\"backbone_factor\\": 1.4, \\"skip_factor\\": 0.2}, {}]", FreeU Schedule: "0.0, 1.0, 0.0", '
        "FreeU Version: 2, Model: dream",
    ]


def test_requests_have_the_fields_of_the_api() -> None:
    for format in ("sdwebui_api", "forge_api"):
        found = json.loads(presets.render(Preset(V2, "m", sampling=FOUND), format))
        assert found.pop("alwayson_scripts") == json.loads(presets.render(Preset(V2, "m"), format))["alwayson_scripts"]
        assert found == {
            "cfg_scale": 6.5, "steps": 28, "sampler_name": "Euler a", "scheduler": "Uniform", "width": 832,
            "height": 1216, "negative_prompt": "blurry, dog", "override_settings": {"CLIP_stop_at_last_layers": 2},
        }  # fmt: skip


@pytest.mark.parametrize("xl, skipped", [(False, 2), (True, 1)])
def test_the_call_for_diffusers_has_the_settings(monkeypatch: pytest.MonkeyPatch, xl: bool, skipped: int) -> None:
    made: dict[str, Any] = {}

    class Scheduler:
        @staticmethod
        def from_config(config: str, **changes: Any) -> str:
            made.update(changes)
            return f"new of {config}"

    class Pipe(SimpleNamespace):
        def __call__(self, prompt: str, **given: Any) -> Any:
            return prompt, given

    monkeypatch.setitem(sys.modules, "diffusers", module := ModuleType("diffusers"))
    module.DPMSolverMultistepScheduler = Scheduler  # type: ignore[attr-defined]
    sampling = replace(FOUND, scheduler="DPM++ 2M Karras", clip_skip=3)
    space: dict[str, Any] = {}
    exec(presets.render(Preset(V1, "m", sampling=sampling), "diffusers"), space)
    pipe = Pipe(scheduler=SimpleNamespace(config="old"), text_encoder_2=object() if xl else None)
    prompt, got = space["call"](pipe, "a cat", num_inference_steps=4)
    assert prompt == "a cat" and pipe.scheduler == "new of old"
    scheduler = named("DPM++ 2M Karras")
    assert scheduler.schedule is not None
    assert made == {**scheduler.sampler.changes, **scheduler.schedule.changes}
    assert got == {
        "guidance_scale": 6.5, "guidance_rescale": 0.7, "num_inference_steps": 4, "negative_prompt": "blurry, dog",
        "width": 832, "height": 1216, "clip_skip": skipped,
    }  # fmt: skip


def ksampler(**more: Any) -> dict[str, Any]:
    values = {"seed": 1, "steps": 20, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 1.0}
    return {"class_type": "KSampler", "inputs": {**values, "model": ["4", 0], **more}}


LOADER = {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "m.safetensors"}}


def patched(workflow: dict[str, Any], sampling: Sampling = FOUND) -> tuple[dict[str, Any], list[str]]:
    text, done = patch(Preset(V2, "m", sampling=sampling), json.dumps(workflow))
    return json.loads(text), done


def test_a_workflow_gets_the_settings_and_says_so() -> None:
    found, done = patched({"4": LOADER, "3": ksampler()})
    inputs = found["3"]["inputs"]
    assert (inputs["cfg"], inputs["steps"], inputs["sampler_name"]) == (6.5, 28, "euler_ancestral")
    assert (inputs["seed"], inputs["denoise"]) == (1, 1.0)
    assert "set cfg 6.5, steps 28, sampler_name euler_ancestral, scheduler normal in KSampler (node 3)" in done
    assert done[-1].startswith("not set, which other nodes hold: guidance rescale 0.7, clip skip 2, 832x1216")


def test_without_settings_a_workflow_keeps_its_own() -> None:
    found, done = patched({"4": LOADER, "3": ksampler()}, Sampling())
    assert found["3"]["inputs"] == ksampler()["inputs"] | {"model": ["5", 0]} and len(done) == 1


def test_passes_that_do_a_part_and_inputs_from_other_nodes_are_left_and_said() -> None:
    advanced = ksampler(start_at_step=0, end_at_step=15) | {"class_type": "KSamplerAdvanced"}
    workflow = {"4": LOADER, "3": ksampler(steps=["9", 0]), "6": ksampler(denoise=0.5), "7": advanced}
    workflow["8"] = ksampler(model=["40", 0])
    workflow["40"] = LOADER
    text, done = patch(Preset(V2, "m", sampling=FOUND), json.dumps(workflow), ["4"])
    found = json.loads(text)
    assert found["3"]["inputs"]["steps"] == ["9", 0] and found["3"]["inputs"]["cfg"] == 6.5
    assert any("takes its steps from another node: set it to 28 there" in each for each in done)
    for key, why in (("6", "denoise below 1"), ("7", "it ends at step 15 of 20")):
        assert found[key]["inputs"]["cfg"] == 8.0 and any(why in each for each in done)
    assert found["8"]["inputs"]["cfg"] == 8.0  # another model, without FreeU


def test_the_parts_of_a_custom_sampler() -> None:
    workflow = {
        "4": LOADER,
        "1": {"class_type": "SamplerCustomAdvanced", "inputs": {
            "guider": ["2", 0], "sampler": ["3", 0], "sigmas": ["5", 0]}},
        "2": {"class_type": "CFGGuider", "inputs": {"cfg": 8.0, "model": ["4", 0]}},
        "3": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "euler"}},
        "5": {"class_type": "BasicScheduler", "inputs": {
            "scheduler": "normal", "steps": 20, "denoise": 1.0, "model": ["4", 0]}},
    }  # fmt: skip
    found, _ = patched(workflow, Sampling(6.5, steps=28, scheduler="DPM++ 2M Karras"))
    assert found["2"]["inputs"]["cfg"] == 6.5 and found["3"]["inputs"]["sampler_name"] == "dpmpp_2m"
    assert (found["5"]["inputs"]["steps"], found["5"]["inputs"]["scheduler"]) == (28, "karras")


def test_a_workflow_as_the_editor_saves_it() -> None:
    link = {"name": "steps", "type": "INT", "link": 9, "widget": {"name": "steps"}}
    nodes = [
        {"id": 4, "type": "CheckpointLoaderSimple", "inputs": [], "widgets_values": ["m"],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1, 2]}]},
        {"id": 3, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 1}],
         "outputs": [], "widgets_values": [7, "randomize", 20, 8, "euler", "normal", 1]},
        {"id": 6, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 2}, link],
         "outputs": [], "widgets_values": [7, "randomize", 20, 8, "euler", "normal", 1]},
        {"id": 8, "type": "PrimitiveNode", "inputs": [], "outputs": [{"name": "INT", "type": "INT", "links": [9]}]},
    ]  # fmt: skip
    links = [[1, 4, 0, 3, 0, "MODEL"], [2, 4, 0, 6, 0, "MODEL"], [9, 8, 0, 6, 1, "INT"]]
    found, done = patched({"last_node_id": 8, "last_link_id": 9, "nodes": nodes, "links": links, "version": 0.4})
    by_id = {node["id"]: node for node in found["nodes"]}
    assert by_id[3]["widgets_values"] == [7, "randomize", 28, 6.5, "euler_ancestral", "normal", 1]
    assert by_id[6]["widgets_values"] == [7, "randomize", 20, 6.5, "euler_ancestral", "normal", 1]
    assert any("takes its steps from another node" in each for each in done)


@pytest.mark.parametrize(
    ("typed", "wanted", "said"),
    [
        ([7, 20, 8, "euler", "normal", 1], [7, 28, 6.5, "euler_ancestral", "normal", 1], "set cfg 6.5, steps 28"),
        ([7, "randomize", 20], [7, "randomize", 28], "set cfg 6.5, sampler_name euler_ancestral, scheduler normal"),
        (None, None, "set cfg 6.5, steps 28, sampler_name euler_ancestral, scheduler normal there by hand"),
        ([7, "randomize", "x"], [7, "randomize", "x"], "set cfg 6.5, steps 28, sampler_name euler_ancestral, sch"),
    ],
    ids=["no widget behind the seed", "too few", "none", "another order"],
)
def test_a_sampler_of_another_layout_is_understood_or_left(typed: Any, wanted: Any, said: str) -> None:
    nodes = [
        {"id": 4, "type": "CheckpointLoaderSimple", "inputs": [], "widgets_values": ["m"],
         "outputs": [{"name": "MODEL", "type": "MODEL", "links": [1]}]},
        {"id": 3, "type": "KSampler", "inputs": [{"name": "model", "type": "MODEL", "link": 1}],
         "outputs": [], "widgets_values": typed},
    ]  # fmt: skip
    links = [[1, 4, 0, 3, 0, "MODEL"]]
    found, done = patched({"last_node_id": 4, "last_link_id": 1, "nodes": nodes, "links": links, "version": 0.4})
    assert next(node for node in found["nodes"] if node["id"] == 3)["widgets_values"] == wanted
    assert any(said in each for each in done), done


def test_enable_says_once_where_the_factors_were_found() -> None:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        for _ in range(3):
            assert Setting.of(Preset(V2, "m", sampling=Sampling(6.5, steps=28))).factors == V2
        Setting.of(Preset(V2, "m"))
    assert [str(each.message) for each in told] == [
        "these FreeU factors were found at guidance 6.5, 28 steps: the pipeline's own are kept"
    ]
