"""Single-file checkpoints in the original layout, written from a tiny pipeline."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

import freeu
from configs import UserError
from freeu.models import changed, load_generator, load_spec
from freeu.models.noising import noising
from freeu.models.single import XL, XL_REFINER, nearest
from tests import single_file, tiny

KEY = "model.diffusion_model.input_blocks.4.1.transformer_blocks.0.attn2.to_k.weight"


@pytest.fixture(scope="module")
def file(sd_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    from diffusers import StableDiffusionPipeline

    pipeline = StableDiffusionPipeline.from_pretrained(sd_folder, dtype=torch.float32)
    return single_file.write(pipeline, tmp_path_factory.mktemp("single") / "mine.safetensors")


def spec_of(file: Path, config: Path, **more):
    return load_spec(file).model_copy(update={"config": str(config), "scheduler": "ddim", "resolution": 32, **more})


def test_draws_what_the_folder_draws(file: Path, sd_folder: Path) -> None:
    of_folder = load_spec(sd_folder).model_copy(update={"scheduler": "ddim"})
    for factors in (freeu.IDENTITY, freeu.Factors(1.5, 1.6, 0.9, 0.2)):
        found, wanted = (
            load_generator(spec, device="cpu", steps=2, guidance=3.0).generate(["a boat"], [0], factors)
            for spec in (spec_of(file, sd_folder), of_folder)
        )
        assert torch.equal(found, wanted)


@pytest.mark.parametrize("layout", ["sd2", "sdxl"])
def test_the_layouts_of_later_models(layout: str, sd_folder: Path, tmp_path: Path) -> None:
    from diffusers import StableDiffusionPipeline, StableDiffusionXLPipeline

    if layout == "sdxl":  # it is told by the tenth layer of its second text encoder
        folder = tiny.sdxl(tmp_path / "pipeline", layers_2=10)
        pipeline = StableDiffusionXLPipeline.from_pretrained(folder, dtype=torch.float32, variant="fp16")
    else:
        folder = sd_folder
        pipeline = StableDiffusionPipeline.from_pretrained(folder, dtype=torch.float32)
    file = single_file.write(pipeline, tmp_path / "mine.safetensors", layout)
    assert nearest(file) == ("sdxl" if layout == "sdxl" else "sd15")  # by the text width, here of a tiny one
    of_folder = load_spec(folder).model_copy(update={"scheduler": "ddim"})
    for factors in (freeu.IDENTITY, freeu.Factors(1.5, 1.6, 0.9, 0.2)):
        found, wanted = (
            load_generator(spec, device="cpu", steps=2, guidance=3.0).generate(["a boat"], [0], factors)
            for spec in (spec_of(file, folder), of_folder)
        )
        assert torch.equal(found, wanted)


def test_identity_is_the_contents(file: Path, sd_folder: Path, tmp_path: Path) -> None:
    renamed = tmp_path / "other-name.safetensors"
    renamed.write_bytes(file.read_bytes())
    first, second = (
        load_generator(spec_of(each, sd_folder), device="cpu", steps=1).identity for each in (file, renamed)
    )
    assert first == second


@pytest.mark.parametrize("part", ["model_index", "scheduler/scheduler_config", "tokenizer/tokenizer_config"])
def test_identity_covers_the_layout(part: str, file: Path, sd_folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(sd_folder, tmp_path / "layout"))

    def of(folder: Path) -> str:
        return load_generator(spec_of(file, folder), device="cpu", steps=1).identity

    assert of(other) == of(sd_folder)
    next((other / "unet").glob("*.safetensors")).unlink()  # weights there are not read
    assert of(other) == of(sd_folder)
    config = other / f"{part}.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"another": 1}))
    assert of(other) != of(sd_folder)


V = {"prediction_type": "v_prediction"}
ZERO = {"rescale_betas_zero_snr": True, "timestep_spacing": "trailing"}


@pytest.mark.parametrize("keys, said, changes", [
    ((), {}, {}),
    (("v_pred",), {}, V),
    (("v_pred", "ztsnr"), {}, V | ZERO),
    (("ztsnr",), {}, ZERO),
    ((), {"modelspec.prediction_type": "v"}, V),
    ((), {"modelspec.prediction_type": "epsilon"}, {"prediction_type": "epsilon"}),
    ((), {"modelspec.prediction_type": "something"}, {}),
    ((), {"modelspec.predict_key": "v"}, V),  # as ComfyUI writes it
    ((), {"modelspec.predict_key": "epsilon"}, {"prediction_type": "epsilon"}),
    ((), {"modelspec.prediction_type": "something", "modelspec.predict_key": "v"}, V),
    ((), {"modelspec.title": "mine"}, {}),
])  # fmt: skip
@pytest.mark.parametrize("key", [XL, KEY])
def test_the_type_of_prediction_is_told_from_the_header(
    key: str, keys: tuple[str, ...], said: dict[str, str], changes: dict[str, object], tmp_path: Path
) -> None:
    tensors = {key: torch.zeros(2, 1024)} | {each: torch.zeros(0) for each in keys}
    save_file(tensors, made := tmp_path / "made.safetensors", metadata=said or None)
    assert noising(made) == (None, changes)
    assert load_spec(made).scheduler_config == changes


def test_a_file_of_another_type_of_prediction_is_sampled_as_such(file: Path, sd_folder: Path, tmp_path: Path) -> None:
    made = tmp_path / "v.safetensors"
    save_file(load_file(file) | {"v_pred": torch.zeros(0), "ztsnr": torch.zeros(0)}, made)
    for name in ("dpmsolver++", "ddim"):
        generator = load_generator(spec_of(made, sd_folder, scheduler=name), device="cpu", steps=2)
        config = generator._scheduler().config
        assert (config.prediction_type, config.rescale_betas_zero_snr) == ("v_prediction", True)
        assert generator._scheduler().timesteps[0] == config.num_train_timesteps - 1
        assert generator.generate(["a boat"], [0], freeu.IDENTITY).shape == (1, 3, 32, 32)


def test_the_architecture_is_told_from_the_header(file: Path, tmp_path: Path) -> None:
    assert nearest(file) == "sd15"
    for name, tensors in {
        "sd21": {KEY: torch.zeros(2, 1024)},
        "sd15": {KEY: torch.zeros(2, 768)},
        "sdxl": {XL: torch.zeros(1)},
    }.items():
        save_file(tensors, made := tmp_path / f"{name}.safetensors")
        assert nearest(made) == name
        assert load_spec(made).config == load_spec(name).source


def test_what_is_no_checkpoint_is_told(file: Path, tmp_path: Path) -> None:
    def said(made: Path) -> str:
        with pytest.raises(UserError) as error:
            load_spec(made)
        assert made.name in str(error.value)
        return str(error.value)

    (tmp_path / "text.safetensors").write_text("hello")
    assert "is no safetensors file" in said(tmp_path / "text.safetensors")
    (tmp_path / "cut.safetensors").write_bytes(file.read_bytes()[:-1000])
    assert "is cut off" in said(tmp_path / "cut.safetensors")
    save_file({"lora_unet_x": torch.zeros(1)}, tmp_path / "lora.safetensors")
    assert "a LoRA to --lora" in said(tmp_path / "lora.safetensors")
    save_file({XL_REFINER: torch.zeros(1)}, tmp_path / "refiner.safetensors")
    assert "refiner" in said(tmp_path / "refiner.safetensors")
    assert "can't read" in said(tmp_path / "missing.safetensors")


def test_a_layout_that_cannot_be_had_is_told(file: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="Give --pipeline-config FOLDER"):
        load_generator(spec_of(file, tmp_path / "nowhere"), device="cpu")


def test_a_hub_id_takes_its_defaults_from_its_layout(sd_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub

    asked = []

    def snapshot_download(repo: str, **how) -> str:
        asked.append((repo, how["allow_patterns"], how.get("local_files_only", False)))
        return str(sd_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot_download)
    spec = load_spec("someone/fine-tune")
    assert (spec.name, spec.source, spec.kind) == ("fine-tune", "someone/fine-tune", "text-to-image")
    assert spec.resolution == 32
    assert asked == [("someone/fine-tune", ["*.json", "*.txt"], True)]


def test_a_hub_id_of_a_known_model_is_that_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freeu.models.locate.hub_layout", lambda *_: pytest.fail("asked for the layout"))
    for repo, name in (
        ("stabilityai/sdxl-turbo", "sdxl-turbo"),
        ("CompVis/stable-diffusion-v1-4", "sd14"),
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", "sd15"),
        ("stabilityai/stable-diffusion-xl-base-1.0", "sdxl"),
    ):
        assert load_spec(repo) == load_spec(name).model_copy(update={"name": repo.partition("/")[2]})


def test_a_mirror_of_a_known_model_takes_its_defaults(sdxl_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freeu.models.locate.hub_layout", lambda *_: sdxl_folder)
    spec = load_spec("mirror/sdxl-turbo")
    assert (spec.name, spec.source) == ("sdxl-turbo", "mirror/sdxl-turbo")
    assert (spec.steps, spec.guidance, spec.scheduler, spec.published) == (4, 0, "default", None)


@pytest.mark.parametrize("without", ["tokenizer", None])
def test_the_hubs_cache_is_enough_for_a_layout(
    without: str | None, sd_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a model without a tokenizer too; one of which a part is missing is asked for."""
    import huggingface_hub

    made = tmp_path / "made"
    shutil.copytree(sd_folder, made, ignore=shutil.ignore_patterns("tokenizer", "*.safetensors"))
    if without is not None:  # as SVD and SDXL's refiner say it
        index = json.loads((made / "model_index.json").read_text()) | {without: [None, None]}
        (made / "model_index.json").write_text(json.dumps(index))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: str(made))
    monkeypatch.setattr("freeu.models.locate._unreachable", lambda *_: "no answer")
    if without is not None:
        assert load_spec("some/one").source == "some/one"
    else:
        with pytest.raises(UserError, match="neither in the hub's cache"):
            load_spec("some/one")


def test_a_hub_id_that_cannot_be_had_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("freeu.models.locate._unreachable", lambda *_: "no answer")
    with pytest.raises(UserError, match=r"unknown model 'some/one'.*no such folder.*no answer"):
        load_spec("some/one")


def scheduled(of: Path, folder: Path, name: str, **config) -> Path:
    """A copy of a pipeline with another scheduler."""
    import diffusers

    getattr(diffusers, name)(**config).save_pretrained(shutil.copytree(of, folder) / "scheduler")
    index = folder / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | {"scheduler": ["diffusers", name]}))
    return folder


EDM = {"sigma_min": 0.002, "sigma_max": 80.0, "sigma_data": 0.5}


@pytest.mark.parametrize("name, config", [
    ("LCMScheduler", {}),
    ("TCDScheduler", {}),
    ("EDMEulerScheduler", EDM),
    ("EDMDPMSolverMultistepScheduler", EDM),
])  # fmt: skip
def test_a_layouts_scheduler_that_none_can_stand_in_for_is_kept(
    name: str, config: dict[str, float], file: Path, sd_folder: Path, tmp_path: Path
) -> None:
    layout = scheduled(sd_folder, tmp_path / "layout", name, **config)
    assert changed(load_spec(file), {"config": str(layout)}).scheduler == "default"
    one = load_generator(spec_of(file, layout), device="cpu", steps=3)
    other = load_generator(load_spec(layout), device="cpu", steps=3)
    assert type(one._scheduler()).__name__ == name
    assert one._scheduler().config == other._scheduler().config


def test_the_layout_says_how_many_pixels(file: Path, sd_folder: Path, tmp_path: Path) -> None:
    layout = Path(shutil.copytree(sd_folder, tmp_path / "layout"))
    config = layout / "unet/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"sample_size": 12}))
    given = {"config": str(layout)}
    assert changed(load_spec(file), given).resolution == load_spec(layout).resolution == 48
    assert changed(load_spec(file), given).scheduler == load_spec(file).scheduler
    assert changed(load_spec(file), {**given, "resolution": 64}).resolution == 64
    assert changed(load_spec(file), {}).resolution == load_spec("sd15").resolution
    (tmp_path / "mine.yaml").write_text(
        f"source: {file}\nconfig: x\nresolution: 96\nsteps: 3\nguidance: 1\nprompts: general\n"
    )
    assert changed(load_spec(tmp_path / "mine.yaml"), given).resolution == 96


PLAYGROUND = {
    "edm_mean": torch.linspace(-1, 1, 4).view(1, 4, 1, 1),
    "edm_std": torch.linspace(4, 6, 4).view(1, 4, 1, 1),
}
COSXL = {"edm_vpred.sigma_max": torch.tensor(120.0), "edm_vpred.sigma_min": torch.tensor(0.004)}


@pytest.mark.parametrize("marks, changes", [
    (PLAYGROUND, EDM),
    (COSXL, {"sigma_min": 0.004, "sigma_max": 120.0, "sigma_data": 1.0, "prediction_type": "v_prediction"}),
])  # fmt: skip
@pytest.mark.parametrize("where", ["checkpoint", "unet", "yaml"])
def test_edms_formulation_is_told_from_marks(
    where: str, marks: dict[str, torch.Tensor], changes: dict[str, object], file: Path, sd_folder: Path, tmp_path: Path
) -> None:
    save_file(load_file(file) | marks, made := tmp_path / "made.safetensors")
    if where == "unet":
        spec = changed(load_spec(file), {"unet": str(made), "config": str(sd_folder), "resolution": 32})
    elif where == "yaml":
        (tmp_path / "mine.yaml").write_text(
            f"source: {made}\nconfig: {sd_folder}\nresolution: 32\nsteps: 3\nguidance: 1\nprompts: general\n"
        )
        spec = load_spec(tmp_path / "mine.yaml")
    else:
        spec = load_spec(made).model_copy(update={"config": str(sd_folder), "resolution": 32})
    assert spec.scheduler == "edm"
    assert {key: spec.scheduler_config[key] for key in changes} == pytest.approx(changes)
    one = load_generator(spec, device="cpu", steps=2)
    assert type(one._scheduler()).__name__ == "EDMDPMSolverMultistepScheduler"
    assert one._scheduler().init_noise_sigma > 79
    scale, shift = one._latent_scale()
    if marks is PLAYGROUND:
        torch.testing.assert_close(scale, 0.5 / PLAYGROUND["edm_std"])
        assert torch.equal(shift, PLAYGROUND["edm_mean"])
    else:
        assert (scale, shift) == (one._vae.config.scaling_factor, 0.0)
    assert one.generate(["a boat"], [0], freeu.IDENTITY).shape == (1, 3, 32, 32)


def test_a_yaml_has_the_last_word_on_the_scheduler(file: Path, tmp_path: Path) -> None:
    save_file(load_file(file) | COSXL | {"v_pred": torch.zeros(0)}, made := tmp_path / "made.safetensors")
    text = f"source: {made}\nresolution: 32\nsteps: 3\nguidance: 1\nprompts: general\n"
    (tmp_path / "mine.yaml").write_text(text + "scheduler: ddim\nscheduler_config: {prediction_type: epsilon}\n")
    spec = load_spec(tmp_path / "mine.yaml")
    assert (spec.scheduler, spec.scheduler_config["prediction_type"]) == ("ddim", "epsilon")


def test_another_unets_type_of_prediction_is_read(file: Path, tmp_path: Path) -> None:
    save_file(load_file(file) | {"v_pred": torch.zeros(0)}, made := tmp_path / "v.safetensors")
    assert changed(load_spec("sd15"), {"unet": str(made)}).scheduler_config == V


def test_a_layout_of_another_architecture_is_told_before_anything_loads(
    file: Path, sdxl_folder: Path, tmp_path: Path
) -> None:
    from search.settings.job import prepare
    from search.settings.reading import load

    settings = {"model": str(file), "pipeline_config": str(sdxl_folder), "mlruns": tmp_path}
    with pytest.raises(UserError, match=r"takes text embeddings 24 wide, and that of .*mine\.safetensors 16"):
        prepare(load(None, settings))
    with pytest.raises(UserError, match="Give --pipeline-config FOLDER"):
        prepare(load(None, settings | {"pipeline_config": str(tmp_path / "nowhere")}))
    with pytest.raises(UserError, match="--offload keeps on the CPU"):
        prepare(load(None, {"offload": True, "device": "cpu", "mlruns": tmp_path}))
