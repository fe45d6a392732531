"""Settings read back from files as each tool lays them out; what can't be read is told in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from configs import UserError
from freeu.controls import Controls
from freeu.factors import Factors
from freeu.presets.like import read
from freeu.sampling import Sampling

WANTED = Sampling(
    guidance=6.5, steps=28, scheduler="DPM++ 2M Karras", clip_skip=2, negative_prompt="blurry, dog: bad",
    size=(832, 1216),
)  # fmt: skip
V2 = Factors(1.3, 1.4, 0.9, 0.2)
V1 = Factors(1.2, 1.4, 0.9, 0.2, "v1", "block")
PROMPT = "a cat, Steps: 3\nNegative prompt: blurry, dog: bad\n"
LINE = "Seed: 7, Size: 832x1216, Model hash: 12ab, Model: dream_v8, Clip skip: 2"
WEBUI = f"{PROMPT}Steps: 28, Sampler: DPM++ 2M, Schedule type: Karras, CFG scale: 6.5, {LINE}"
STAGES = (
    ', FreeU Stages: "[{\\"backbone_factor\\": 1.3, \\"skip_factor\\": 0.9}, {\\"backbone_factor\\": 1.4, '
    '\\"skip_factor\\": 0.2}]", FreeU Schedule: "0.0, 0.7, 0.0", FreeU Version: 2, Hires upscale: 2, Version: v1.10.1'
)
OLD = f"{PROMPT}Steps: 28, Sampler: DPM++ 2M Karras, CFG scale: 6.5, {LINE}, Version: v1.6.0"
FORGE = WEBUI + ", freeu_enabled: True, freeu_b1: 1.3, freeu_b2: 1.4, freeu_s1: 0.9, freeu_s2: 0.2, Version: f2.0.1"
SDNEXT = OLD.replace("Version: v1.6.0", "FreeU: b1=1.2 b2=1.4 s1=0.9 s2=0.2, App: SD.Next")
FOOOCUS: dict[str, Any] = {
    "adm_guidance": "(1.5, 0.8, 0.3)", "base_model": "dream_v8", "base_model_hash": "12ab", "clip_skip": 2,
    "freeu": "(1.3, 1.4, 0.9, 0.2)", "full_negative_prompt": ["blurry", "dog: bad"], "full_prompt": ["a cat"],
    "guidance_scale": 6.5, "loras": [], "metadata_scheme": "fooocus", "negative_prompt": "blurry",
    "performance": "Speed", "prompt": "a cat", "resolution": "(832, 1216)", "sampler": "dpmpp_2m", "seed": "7",
    "scheduler": "karras", "steps": 28, "version": "Fooocus v2.5.5",
}  # fmt: skip
FOOOCUS_A1111 = (
    f"{PROMPT}Steps: 28, Sampler: DPM++ 2M Karras, Seed: 7, Size: 832x1216, CFG scale: 6.5, Sharpness: 2, "
    'Model: dream_v8, Model hash: 12ab, Scheduler: karras, FreeU: "(1.3, 1.4, 0.9, 0.2)", Clip skip: 2, '
    "Version: Fooocus v2.5.5"
)
INVOKEAI: dict[str, Any] = {
    "generation_mode": "txt2img", "positive_prompt": "a cat", "negative_prompt": "blurry, dog: bad", "width": 832,
    "height": 1216, "seed": 7, "rand_device": "cpu", "cfg_scale": 6.5, "cfg_rescale_multiplier": 0.7, "steps": 28,
    "scheduler": "dpmpp_2m_k", "clip_skip": 1, "model": {"key": "k", "hash": "blake3:1", "name": "dream_v8"},
    "loras": [], "app_version": "5.6.0",
}  # fmt: skip
GRAPH = {
    "id": "g",
    "nodes": {"f": {"id": "f", "type": "freeu", "b1": 1.2, "b2": 1.4, "s1": 0.9, "s2": 0.2}},
    "edges": [],
}
COMFY: dict[str, Any] = {
    "3": {"class_type": "KSampler", "inputs": {
        "seed": 7, "steps": 28, "cfg": 6.5, "sampler_name": "dpmpp_2m", "scheduler": "karras", "denoise": 1.0,
        "model": ["9", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
    "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "dream_v8.safetensors"}},
    "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 832, "height": 1216, "batch_size": 1}},
    "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a cat", "clip": ["8", 0]}},
    "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "blurry, dog: bad", "clip": ["8", 0]}},
    "8": {"class_type": "CLIPSetLastLayer", "inputs": {"stop_at_clip_layer": -2, "clip": ["4", 1]}},
    "9": {"class_type": "FreeU_V2", "inputs": {"b1": 1.3, "b2": 1.4, "s1": 0.9, "s2": 0.2, "model": ["4", 0]}},
    "10": {"class_type": "VAEDecode", "inputs": {"samples": ["11", 0], "vae": ["4", 2]}},
    "11": {"class_type": "KSampler", "inputs": {
        "seed": 7, "steps": 12, "cfg": 8.0, "sampler_name": "euler", "scheduler": "normal", "denoise": 0.5,
        "model": ["9", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["12", 0]}},
    "12": {"class_type": "LatentUpscale", "inputs": {"samples": ["3", 0], "width": 1024, "height": 1024}},
}  # fmt: skip
CUSTOM: dict[str, Any] = {key: COMFY[key] for key in ("4", "5", "6", "7", "8", "9")} | {
    "3": {"class_type": "SamplerCustomAdvanced", "inputs": {
        "noise": ["20", 0], "guider": ["21", 0], "sampler": ["22", 0], "sigmas": ["23", 0], "latent_image": ["5", 0]}},
    "20": {"class_type": "RandomNoise", "inputs": {"noise_seed": 7}},
    "21": {"class_type": "CFGGuider", "inputs": {"cfg": 6.5, "model": ["24", 0], "positive": ["6", 0],
                                                 "negative": ["7", 0]}},
    "22": {"class_type": "KSamplerSelect", "inputs": {"sampler_name": "dpmpp_2m"}},
    "23": {"class_type": "KarrasScheduler", "inputs": {"steps": 28, "sigma_max": 14.6, "sigma_min": 0.03, "rho": 7.0}},
    "24": {"class_type": "RescaleCFG", "inputs": {"multiplier": 0.7, "model": ["9", 0]}},
}  # fmt: skip


def png(file: Path, **chunks: str) -> None:
    info = PngInfo()
    for key, text in chunks.items():
        (info.add_text if text.isascii() else info.add_itxt)(key, text)
    Image.new("RGB", (8, 8)).save(file, "PNG", pnginfo=info)


def exif(file: Path, kind: str, tags: dict[int, Any], comment: str | None = None) -> None:
    found = Image.Exif()
    for tag, value in tags.items():
        found[tag] = value
    if comment is not None:
        found.get_ifd(0x8769)[0x9286] = b"UNICODE\0" + comment.encode("utf-16-be")
    Image.new("RGB", (8, 8)).save(file, kind, exif=found)


FILES = {
    "the web UI's PNG": lambda f: png(f, parameters=WEBUI + STAGES),
    "its JPEG": lambda f: exif(f, "JPEG", {}, WEBUI + STAGES),
    "an old web UI's WebP": lambda f: exif(f, "WEBP", {}, OLD),
    "an infotext": lambda f: f.write_text(OLD),
    "Forge's PNG": lambda f: png(f, parameters=FORGE),
    "SD.Next's JPEG": lambda f: exif(f, "JPEG", {}, SDNEXT),
    "Fooocus' PNG": lambda f: png(f, parameters=json.dumps(FOOOCUS), fooocus_scheme="fooocus"),
    "Fooocus' JPEG": lambda f: exif(f, "JPEG", {0x9286: json.dumps(FOOOCUS), 0x131: "Fooocus v2", 0x927C: "fooocus"}),
    "Fooocus' PNG in the web UI's layout": lambda f: png(f, parameters=FOOOCUS_A1111, fooocus_scheme="a1111"),
    "InvokeAI's PNG": lambda f: png(f, invokeai_metadata=json.dumps(INVOKEAI)),
    "InvokeAI's PNG with its graph": lambda f: png(
        f, invokeai_metadata=json.dumps(INVOKEAI), invokeai_graph=json.dumps(GRAPH)
    ),
    "ComfyUI's PNG": lambda f: png(f, prompt=json.dumps(COMFY), workflow='{"nodes": [], "links": []}'),
    "ComfyUI's WebP": lambda f: exif(f, "WEBP", {0x110: "prompt:" + json.dumps(COMFY), 0x10F: "workflow:{}"}),
    "a workflow of single parts": lambda f: f.write_text(json.dumps(CUSTOM)),
}  # fmt: skip
FREEU = {"the web UI's PNG", "its JPEG"}
NONE = {"an old web UI's WebP", "an infotext", "InvokeAI's PNG"}


@pytest.mark.parametrize("kind", FILES)
def test_settings_are_read_back_exactly(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "made"
    FILES[kind](file)
    found = read(file)
    rescale = 0.7 if "InvokeAI" in kind or "parts" in kind else None
    assert found.sampling == Sampling(**{**WANTED.as_dict(), "guidance_rescale": rescale})
    factors = V1 if "SD.Next" in kind or "graph" in kind else None if kind in NONE else V2
    if kind in FREEU:
        factors = Factors(1.3, 1.4, 0.9, 0.2, controls=Controls(stop=0.7))
    assert found.factors == factors
    assert (found.model or "").removesuffix(".safetensors") == "dream_v8"


@pytest.mark.parametrize("kind, said", [
    ("the web UI's PNG", ("Hires upscale: 2",)),
    ("Fooocus' PNG", ("adm_guidance: (1.5, 0.8, 0.3)",)),
    ("ComfyUI's PNG", ("node LatentUpscale", "1 further passes")),
    ("an infotext", ()),
])  # fmt: skip
def test_what_is_left_out_is_said(tmp_path: Path, kind: str, said: tuple[str, ...]) -> None:
    FILES[kind](tmp_path / "made")
    assert read(tmp_path / "made").left_out == said


@pytest.mark.parametrize("sampler, schedule, wanted", [
    ("euler_ancestral", "normal", "Euler a linspace"), ("dpmpp_2m_sde_gpu", "exponential", "DPM++ 2M SDE exponential"),
    ("ddim", "ddim_uniform", "DDIM leading"), ("lcm", "sgm_uniform", "LCM trailing"),
    ("ipndm_v", "normal", None), ("euler", "kl_optimal", None),
])  # fmt: skip
def test_schedulers_by_comfyuis_names(tmp_path: Path, sampler: str, schedule: str, wanted: str | None) -> None:
    node = COMFY["3"]["inputs"] | {"sampler_name": sampler, "scheduler": schedule}
    (tmp_path / "w.json").write_text(json.dumps({**COMFY, "3": {"class_type": "KSampler", "inputs": node}}))
    found = read(tmp_path / "w.json")
    assert found.sampling.scheduler == wanted
    assert any("scheduler" in each for each in found.left_out) == (wanted is None)


def test_a_value_out_of_its_range_is_left_out_and_said(tmp_path: Path) -> None:
    (tmp_path / "i.txt").write_text(WEBUI.replace("Steps: 28", "Steps: 2800").replace("832x1216", "833x1216"))
    found = read(tmp_path / "i.txt")
    assert found.sampling.steps is None and found.sampling.size is None and found.sampling.guidance == 6.5
    assert len(found.left_out) == 2


def test_no_negative_prompt_is_an_empty_one(tmp_path: Path) -> None:
    (tmp_path / "i.txt").write_text(OLD.replace("Negative prompt: blurry, dog: bad\n", ""))
    assert read(tmp_path / "i.txt").sampling.negative_prompt == ""


@pytest.mark.parametrize("make, said", [
    (lambda f: Image.new("RGB", (8, 8)).save(f, "PNG"), "holds no settings"),
    (lambda f: png(f, prompt="{broken"), "damaged"),
    (lambda f: png(f, parameters="hello"), "holds no settings"),
    (lambda f: png(f, prompt=json.dumps({"1": {"class_type": "Note", "inputs": {}}})), "none of KSampler"),
    (lambda f: png(f, workflow='{"nodes": [], "links": []}'), "API format"),
    (lambda f: f.write_text("[" * 100_000), "damaged"),
    (lambda f: f.write_text("a: " * 30_000), "holds no settings"),
    (lambda f: f.write_bytes(b"\x89PNG\r\n\x1a\n" + b"\0" * 40), "can't be read"),
    (lambda f: f.write_bytes(b"\xff\xfe\xff"), "UTF-8"),
    (lambda f: None, "can't read"),
    (lambda f: f.mkdir(), "can't read"),
])  # fmt: skip
def test_what_holds_no_settings_is_told_in_one_line(tmp_path: Path, make: Any, said: str) -> None:
    file = tmp_path / "made"
    make(file)
    with pytest.raises(UserError, match=said) as error:
        read(file)
    assert "\n" not in str(error.value) and len(str(error.value)) < 600


def test_a_png_cut_off_or_with_a_changed_byte_is_told_or_read(tmp_path: Path) -> None:
    FILES["the web UI's PNG"](whole := tmp_path / "whole")
    data = whole.read_bytes()
    for place in range(0, len(data), 29):
        for changed in (data[:place], data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]):
            (file := tmp_path / "cut").write_bytes(changed)
            try:
                read(file)
            except UserError as error:
                assert "\n" not in str(error)


plain = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8)
values = st.recursive(
    plain, lambda each: st.lists(each, max_size=3) | st.dictionaries(st.text(max_size=3), each), max_leaves=4
)
HOSTILE = [(FOOOCUS, None), (INVOKEAI, None), (COMFY, "3"), (COMFY, "8"), (COMFY, "9"), (CUSTOM, "21"), (CUSTOM, "23")]


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=120, derandomize=True
)
@given(where=st.sampled_from(HOSTILE), data=st.data(), value=values)
def test_no_value_breaks_the_readers(tmp_path: Path, where: Any, data: Any, value: Any) -> None:
    whole, node = where
    of = whole if node is None else {"class_type": whole[node]["class_type"], **whole[node]["inputs"]}
    key = data.draw(st.sampled_from(sorted(of)))
    changed = {**whole, key: value}
    if node is not None:
        one = whole[node]
        one = {**one, key: value} if key == "class_type" else {**one, "inputs": {**one["inputs"], key: value}}
        changed = {**whole, node: one}
    (file := tmp_path / "any.json").write_text(json.dumps(changed))
    try:
        read(file)
    except UserError as error:
        assert "\n" not in str(error)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=80, derandomize=True)
@given(text=st.text(max_size=80), start=st.sampled_from(["", "Steps: 3, CFG scale: 4, Size: ", "{", '{"cfg_scale": ']))
def test_no_text_breaks_the_readers(tmp_path: Path, text: str, start: str) -> None:
    (file := tmp_path / "any").write_bytes((start + text).encode("utf-8", "surrogatepass"))
    try:
        read(file)
    except UserError as error:
        assert "\n" not in str(error)
