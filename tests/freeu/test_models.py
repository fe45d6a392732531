"""Specs, the files of a checkpoint and where they are looked for; loading itself is in test_generate.py."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

import configs
import freeu
from configs import UserError
from freeu.models import changed, identity, load_generator, load_spec, locate, names
from freeu.models.catalogue import of_source
from freeu.models.load import choose_device, choose_dtype
from freeu.models.spec import HUB_ID


@pytest.fixture
def copied(sd_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sd_folder, tmp_path / "mine"))


def test_every_model_has_a_spec_that_holds() -> None:
    assert set(names()) >= {"shapes", "sd14", "sd15", "sd21", "sdxl"}
    for name in names():
        spec = load_spec(name)
        assert spec.name == name
        assert spec.published is not None or name in ("lcm", "sdxl-turbo", "ssd-1b", "svd", "vega", "zeroscope")
        assert {"clip", "aesthetic", "fid"} <= set(spec.scorers) and spec.reference
        if name in freeu.PUBLISHED:
            assert spec.published.factors() == freeu.PUBLISHED[name]
            assert HUB_ID.fullmatch(spec.source)


def test_specs_need_neither_torch_nor_diffusers() -> None:
    code = (
        "import sys; from freeu.models import load_spec; load_spec('sdxl'); "
        "print([name for name in ('torch', 'diffusers') if name in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == "[]"


@pytest.mark.parametrize("text, said", [
    ("resolutoin: 64", "did you mean 'resolution'"),
    ("name: other", "unknown key 'name'"),
    ("resolution: 63", "resolution is 63"),
    ("steps: many", "steps is 'many'"),
    ("guidance: yes", "guidance is True: Value error, expected another value"),
    ("guidance: .nan", ".nan is not a finite number"),
    ("scheduler: eulr", "scheduler is 'eulr'"),
    ("published: {b1: 1, b2: 1, s1: 1, s3: 1, version: v2, stages: width, source: me}", "published"),
    ("published: {b1: 99, b2: 1, s1: 1, s2: 1, version: v2, stages: width, source: me}", "b1 is 99"),
    ("source: !!python/object/apply:os.system [ls]", "YAML"),
    ("- a list", "expected 'key: value'"),
])  # fmt: skip
def test_a_wrong_spec_is_told(tmp_path: Path, text: str, said: str) -> None:
    lines = {"source": "x", "resolution": 64, "steps": 2, "guidance": 1.0, "prompts": "general"}
    lines.pop(text.split(":")[0], None)
    whole = text if text.startswith("-") else "\n".join([*(f"{k}: {v}" for k, v in lines.items()), text])
    file = tmp_path / "own.yaml"
    file.write_text(whole)
    with pytest.raises(UserError) as error:
        load_spec(file)
    assert said in str(error.value) and "own.yaml" in str(error.value)


def test_a_spec_lacking_a_field_is_told(tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text("source: x")
    with pytest.raises(UserError, match="resolution is missing"):
        load_spec(tmp_path / "own.yaml")


def test_paths_of_a_users_spec_start_from_its_own_folder(copied: Path) -> None:
    file = copied.parent / "own.yaml"
    file.write_text("source: mine\nresolution: 32\nsteps: 2\nguidance: 1\nprompts: general\n")
    assert locate.locate(load_spec(file)) == copied


@pytest.mark.parametrize("name, near", [("sdlx", "sdxl"), ("shape", "shapes")])
def test_unknown_models_name_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UserError, match=f"did you mean '{near}'"):
        load_spec(name)


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b", "no/such/folder"])
def test_odd_names_are_unknown_models(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError):
        load_spec(name)


def test_a_folder_takes_after_its_family(sd_folder: Path, sdxl_folder: Path, copied: Path) -> None:
    sd, xl = load_spec(sd_folder), load_spec(str(sdxl_folder))
    assert (sd.name, sd.resolution, sd.variant, sd.scorers) == ("tiny-sd", 32, None, load_spec("sd15").scorers)
    assert (xl.resolution, xl.variant, xl.published) == (32, "fp16", load_spec("sdxl").published)
    config = copied / "unet" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"cross_attention_dim": 1024}))
    assert load_spec(copied).published == load_spec("sd21").published


def test_a_folder_named_as_a_known_model_is_on_the_hub_takes_its_defaults(
    sd_folder: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    for of, called, name in (
        (sdxl_folder, "sdxl-turbo", "sdxl-turbo"),
        (sd_folder, "stable-diffusion-v1-4", "sd14"),
        (sd_folder, "stable-diffusion-v1-5", "sd15"),  # not animatediff or dreambooth, which add something to it
        (sd_folder, "stable-video-diffusion-img2vid", "sd15"),  # another kind than it is called
    ):
        spec, like = load_spec(shutil.copytree(of, tmp_path / called)), load_spec(name)
        assert (spec.name, spec.kind, spec.resolution) == (called, "text-to-image", 32)
        for field in ("steps", "guidance", "scheduler", "published", "prompts", "needs"):
            assert getattr(spec, field) == getattr(like, field), (called, field)


@pytest.mark.parametrize("scheduler, kept", [
    ("EDMDPMSolverMultistepScheduler", True),
    ("EDMEulerScheduler", True),
    ("LCMScheduler", True),
    ("TCDScheduler", True),
    ("EulerDiscreteScheduler", False),
    ("PNDMScheduler", False),
])  # fmt: skip
def test_a_scheduler_that_none_can_stand_in_for_is_kept(scheduler: str, kept: bool, copied: Path) -> None:
    index = json.loads((copied / "model_index.json").read_text())
    (copied / "model_index.json").write_text(json.dumps(index | {"scheduler": ["diffusers", scheduler]}))
    assert load_spec(copied).scheduler == ("default" if kept else "dpmsolver++")


def test_a_motion_adapter_brings_its_schedule_and_a_controlnet_does_not() -> None:
    redrawn = {"controlnets": ("c",), "input": "clip.mp4"}
    assert changed(load_spec("sdxl-turbo"), redrawn).scheduler == "default"
    own = load_spec("sd15").model_copy(
        update={"scheduler": "ddim", "scheduler_config": {"timestep_spacing": "trailing"}}
    )
    held = changed(own, redrawn)
    assert (held.controlnet, held.controlnets) == ("c", ())
    assert (held.kind, held.scheduler, held.scheduler_config) == ("video-to-video", "ddim", own.scheduler_config)
    like = load_spec("rerender")
    assert (held.frames, held.every, held.strength, held.objectives) == (
        like.frames, like.every, like.strength, like.objectives
    )  # fmt: skip
    assert changed(like, {}).scheduler == "dpmsolver++"
    moved, like = changed(own, {"motion_adapter": "m"}), load_spec("animatediff")
    assert (moved.scheduler, moved.scheduler_config) == (like.scheduler, like.scheduler_config)


@pytest.mark.parametrize("broken, said", [
    (lambda f: (f / "model_index.json").unlink(), "no model_index.json"),
    (lambda f: (f / "model_index.json").write_text("{"), "can't be read"),
    (lambda f: (f / "model_index.json").write_text("[]"), "JSON object"),
    (lambda f: (f / "model_index.json").write_text('{"_class_name": "FluxPipeline"}'), "FluxPipeline"),
    (lambda f: (f / "vae" / "config.json").unlink(), "no vae/config.json"),
    (lambda f: shutil.rmtree(f / "text_encoder"), "no folder text_encoder"),
    (lambda f: next((f / "unet").glob("*.safetensors")).unlink(), "holds no weights"),
    (lambda f: _cut(next((f / "unet").glob("*.safetensors"))), "can't load the pipeline"),
])  # fmt: skip
def test_a_broken_folder_is_told(copied: Path, broken, said: str) -> None:
    broken(copied)
    with pytest.raises(UserError, match=said):
        load_generator(load_spec(copied), device="cpu")


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])


def test_identity_is_the_content_of_what_is_loaded(copied: Path, tmp_path: Path) -> None:
    before = identity.identity(copied)
    assert len(before) == 64
    assert identity.identity(Path(shutil.copytree(copied, tmp_path / "elsewhere"))) == before
    (copied / "README.md").write_text("words")
    (copied / "unet" / "diffusion_pytorch_model.fp16.safetensors").write_bytes(b"another variant")
    (copied / "scorers").mkdir()
    assert identity.identity(copied) == before
    assert identity.identity(copied, "fp16") != before
    weights = copied / "unet" / "diffusion_pytorch_model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    assert identity.identity(copied) != before


def test_shards_are_counted(tmp_path: Path) -> None:
    for part in (1, 2):
        (tmp_path / f"model-0000{part}-of-00003.safetensors").touch()
    with pytest.raises(UserError, match="2 of 3"):
        identity.weights(tmp_path)
    (tmp_path / "model-00003-of-00003.safetensors").touch()
    assert len(identity.weights(tmp_path)) == 3


def test_an_absent_hub_is_told_in_time(tmp_path: Path) -> None:
    """In a process of its own, since the hub's client reads its settings once."""
    code = "from freeu.models import load_spec, load_generator\nload_generator(load_spec('sdxl'), device='cpu')"
    # port 9 of this machine: nobody listens
    env = {"PATH": "", "HF_HOME": str(tmp_path), "HF_ENDPOINT": "http://127.0.0.1:9", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False, timeout=1500
    )
    last = done.stderr[done.stderr.rindex("configs.UserError") :]
    for part in ("stabilityai/stable-diffusion-xl-base-1.0", "the hub's cache", "127.0.0.1:9", "--model FOLDER"):
        assert part in last


def _remedy(spec) -> str:
    with pytest.raises(UserError) as error:
        locate.locate(spec)
    return str(error.value).partition("What to do: ")[2]


@pytest.fixture
def _no_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "try_to_load_from_cache", lambda *_, **__: None)
    monkeypatch.setattr(locate, "_unreachable", lambda *_: "no answer")


@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize("name", ["sdxl-turbo", "sd14", "sd15", "sdxl", "sd21", "lcm", "modelscope", "svd"])
def test_the_remedy_is_a_folder_that_is_taken_for_the_model(name: str) -> None:
    spec = load_spec(name)
    last = spec.source.rpartition("/")[2]
    for each in (spec, changed(spec, {"refiner": "r"}) if name == "sdxl" else spec):
        assert f"--local-dir FOLDER/{last}` " in _remedy(each)
        assert _remedy(each).endswith(f"give --model FOLDER/{last}.")
    assert of_source(last) == spec


@pytest.mark.usefixtures("_no_hub")
@pytest.mark.parametrize("name", ["animatediff", "dreambooth", "rerender", "reversion", "sdxl-refiner", "own"])
def test_the_remedy_of_more_than_a_folder_is_a_yaml(name: str, tmp_path: Path) -> None:
    file = configs.path("models", f"{name}.yaml")
    if name == "own":
        file = tmp_path / "own.yaml"
        file.write_text("source: stabilityai/sdxl-turbo\nresolution: 64\nsteps: 2\nguidance: 1\nprompts: general\n")
    spec = load_spec(file)
    last = spec.source.rpartition("/")[2]
    assert _remedy(spec).endswith(f"give --model FILE.yaml: a copy of {file} that says `source: FOLDER/{last}`.")
    (tmp_path / "copy.yaml").write_text(file.read_text().replace(spec.source, f"{tmp_path}/{last}"))
    same = {"name": spec.name, "base": spec.base, "source": spec.source}
    assert load_spec(tmp_path / "copy.yaml").model_copy(update=same) == spec


def test_a_hub_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    monkeypatch.setattr(huggingface_hub, "get_hf_file_metadata", lambda *a, **k: time.sleep(5))
    monkeypatch.setattr(locate, "GIVE_UP_SECONDS", 0.1)
    assert "no answer" in str(locate._unreachable("a/b", None))


def test_the_hubs_cache_is_used_without_asking_the_hub(
    sdxl_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    monkeypatch.setattr(
        huggingface_hub, "try_to_load_from_cache", lambda *a, **k: str(sdxl_folder / "model_index.json")
    )
    monkeypatch.setattr(locate, "_download", lambda *a: pytest.fail("asked the hub"))
    assert locate.locate(load_spec("sdxl")) == sdxl_folder


def test_a_source_that_is_neither_folder_nor_hub_id(tmp_path: Path) -> None:
    spec = load_spec("shapes").model_copy(update={"source": str(tmp_path / "none")})
    with pytest.raises(UserError, match="is no folder"):
        load_generator(spec, device="cpu")


def test_devices_and_types() -> None:
    spec = load_spec("sdxl")
    assert choose_device("cpu") == torch.device("cpu")
    assert choose_dtype(None, spec, torch.device("cpu")) == torch.float32
    assert choose_dtype(None, spec, torch.device("cuda")) == torch.float16
    assert choose_dtype("bfloat16", spec, torch.device("cpu")) == torch.bfloat16
    for bad in ("cuda:99", "gpu", "cpux"):
        with pytest.raises(UserError):
            choose_device(bad)
    with pytest.raises(UserError, match="did you mean 'float16'"):
        choose_dtype("flaot16", spec, torch.device("cpu"))


def test_onnxruntime_is_not_loaded_with_a_pipeline(sd_folder: Path, tmp_path: Path) -> None:
    """diffusers would, where it is installed. It can be imported all the same, and is asked to report nothing."""
    (tmp_path / "onnxruntime").mkdir()
    (tmp_path / "onnxruntime" / "__init__.py").write_text("__version__ = '1'\n")
    (tmp_path / "onnxruntime-1.0.dist-info").mkdir()
    (tmp_path / "onnxruntime-1.0.dist-info" / "METADATA").write_text("Name: onnxruntime\nVersion: 1.0\n")
    code = (
        "import os, sys, search\n"
        "from freeu.models import load_generator, load_spec\n"
        f"load_generator(load_spec({str(sd_folder)!r}), device='cpu', steps=2)\n"
        "print('onnxruntime' in sys.modules, os.environ['ORT_DISABLE_TELEMETRY'])\n"
        "import onnxruntime; print(onnxruntime.__version__)"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path])}
    environment.pop("ORT_DISABLE_TELEMETRY", None)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["False", "1", "1"], done.stderr


@pytest.mark.parametrize("name", ["StableDiffusionXLPAGPipeline", "AutoPipelineForText2Image"])
def test_a_pipeline_with_a_further_guidance_is_drawn_as_the_plain_one(
    name: str, sdxl_folder: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(sdxl_folder, tmp_path / sdxl_folder.name))
    index = json.loads((folder / "model_index.json").read_text())
    index |= {"_class_name": name, "pag_applied_layers": ["mid"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    if not name.startswith("Stable"):
        with pytest.raises(UserError, match="a generator of your own"):
            load_spec(folder)
        return
    found, wanted = (
        load_generator(load_spec(each), device="cpu", steps=2).generate(["a boat"], [0], freeu.IDENTITY)
        for each in (folder, sdxl_folder)
    )
    assert torch.equal(found, wanted)


def test_of_plain_and_half_weights_a_folder_loads_what_the_model_does(
    sdxl_folder: Path, sd_folder: Path, tmp_path: Path
) -> None:
    """SDXL by name loads fp16; Stable Diffusion 1.5 too; a model without a variant of its own the plain ones."""
    for of, called, wanted in (
        (sdxl_folder, "mine", "fp16"),
        (sd_folder, "stable-diffusion-v1-5", load_spec("sd15").variant),
    ):
        folder = Path(shutil.copytree(of, tmp_path / called))
        for part in ("unet", "vae", "text_encoder", "text_encoder_2"):
            for file in (folder / part).glob("*.safetensors"):
                name = file.name.replace(".fp16", "")
                other = name if ".fp16" in file.name else f"{file.stem}.fp16.safetensors"
                shutil.copy(file, file.with_name(other))
        assert load_spec(folder).variant == wanted
        loaded = {file.name for file in identity.files(folder, load_spec(folder).variant) if file.suffix != ".json"}
        weights = {name for name in loaded if name.endswith(".safetensors")}
        assert {".fp16." in name for name in weights} == {wanted == "fp16"}


def test_the_advice_to_download_names_the_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freeu.models.locate._unreachable", lambda *_: "no answer")
    monkeypatch.setattr("freeu.models.locate._cached", lambda *_: None)
    with pytest.raises(UserError, match=r'--include "\*.json" "\*.txt" "\*/\*.fp16.safetensors" --local-dir'):
        locate.locate(load_spec("sdxl"))
