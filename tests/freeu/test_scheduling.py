"""A run's scheduler: what it is made of, what it is refused for, and where its noise comes from."""

from __future__ import annotations

import copy
import json
import shutil
from pathlib import Path

import diffusers
import pytest
import torch

import freeu
from configs import UserError
from freeu.generate import generator
from freeu.models import ModelSpec, load_generator, load_spec
from freeu.models.scheduling import BrownianNoise, fresh
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def spec() -> ModelSpec:
    return load_spec("sd15").model_copy(update={"scheduler": "default"})


def test_a_fresh_one_has_the_specs_settings(spec: ModelSpec) -> None:
    own = tiny.scheduler()
    for name, kind in (
        ("default", type(own)),
        ("ddim", diffusers.DDIMScheduler),
        ("dpmsolver++", diffusers.DPMSolverMultistepScheduler),
    ):
        changes = {"prediction_type": "v_prediction"}
        made = fresh(own, spec.model_copy(update={"scheduler": name, "scheduler_config": changes}), 3, CPU)
        assert type(made) is kind and made is not own
        assert made.config.prediction_type == "v_prediction" and made.config.beta_end == own.config.beta_end
    edm = {"sigma_min": 0.002, "sigma_max": 120.0, "sigma_data": 1.0}
    made = fresh(own, spec.model_copy(update={"scheduler": "edm", "scheduler_config": edm}), 3, CPU)
    assert type(made) is diffusers.EDMDPMSolverMultistepScheduler
    assert made.sigmas[0] == pytest.approx(120.0) and made.config.sigma_data == 1.0


@pytest.mark.parametrize("own", [
    diffusers.FlowMatchEulerDiscreteScheduler(),
    diffusers.DPMSolverMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
    diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
])  # fmt: skip
@pytest.mark.parametrize("name", ["default", "dpmsolver++"])
def test_flow_matching_is_refused(name: str, own: object, spec: ModelSpec) -> None:
    with pytest.raises(UserError, match="flow matching"):
        fresh(own, spec.model_copy(update={"scheduler": name}), 3, CPU)


def test_schedulers_of_other_models_are_refused(spec: ModelSpec) -> None:
    with pytest.raises(UserError, match="can't sample"):
        fresh(diffusers.ScoreSdeVeScheduler(), spec.model_copy(update={"name": "odd"}), 3, CPU)


@pytest.mark.parametrize("own", [diffusers.LCMScheduler(), diffusers.TCDScheduler()])
def test_more_steps_than_it_was_distilled_with_are_refused(own: object, spec: ModelSpec) -> None:
    assert len(fresh(own, spec, 50, CPU).timesteps) == 50
    with pytest.raises(UserError, match=r"60 steps.*--steps"):
        fresh(own, spec, 60, CPU)


def test_a_setting_that_it_refuses_is_told(spec: ModelSpec) -> None:
    with pytest.raises(UserError, match="nowhere"):
        fresh(tiny.scheduler(), spec.model_copy(update={"scheduler_config": {"timestep_spacing": "nowhere"}}), 3, CPU)


SIGMAS = torch.tensor([10.0, 5.0, 1.0, 0.1, 0.0])


def brownian(*names: tuple[str, int], side: int = 8) -> BrownianNoise:
    pytest.importorskip("torchsde")
    return BrownianNoise(SIGMAS, torch.zeros(len(names), 4, side, side), [generator(*name) for name in names])


def test_brownian_noise_is_an_images_own() -> None:
    both, alone = brownian(("a", 0), ("b", 1)), brownian(("b", 1))
    before = torch.get_rng_state()
    found = both(SIGMAS[0], SIGMAS[1])
    assert torch.equal(torch.get_rng_state(), before)
    alone(SIGMAS[2], SIGMAS[3])  # what was asked for before changes nothing
    assert torch.equal(found[1:], alone(SIGMAS[0], SIGMAS[1]))
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(found[1:], brownian(("b", 2))(SIGMAS[0], SIGMAS[1]))
    assert torch.equal(copy.deepcopy(both)(SIGMAS[0], SIGMAS[1]), found)


def test_brownian_noise_is_of_variance_one_and_new_in_each_step() -> None:
    sampler = brownian(("a", 0), side=64)
    steps = [sampler(SIGMAS[i], SIGMAS[i + 1]).flatten() for i in range(3)]
    for noise in steps:  # 16,384 numbers: their mean is within 5/128 of 0, their variance within 5 · √2/128 of 1
        assert abs(noise.mean()) < 5 / 128 and abs(noise.var() - 1) < 5 * 2**0.5 / 128
    for one, other in ((0, 1), (1, 2), (0, 2)):
        assert abs((steps[one] * steps[other]).mean()) < 5 / 128


def test_dpm_sde_draws_an_image_by_its_prompt_and_seed(sd_folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchsde")
    folder = Path(shutil.copytree(sd_folder, tmp_path / "sde"))
    diffusers.DPMSolverSDEScheduler(beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012).save_pretrained(
        folder / "scheduler"
    )
    index = folder / "model_index.json"
    named = {"scheduler": ["diffusers", "DPMSolverSDEScheduler"]}
    index.write_text(json.dumps(json.loads(index.read_text()) | named))
    spec = load_spec(folder).model_copy(update={"scheduler": "default"})
    one = load_generator(spec, device="cpu", steps=3, guidance=3.0, batch_size=2)
    prompts, seeds = ["a boat", "two cats", "a boat"], [0, 1, 0]
    found = one.generate(prompts, seeds, freeu.IDENTITY)
    assert torch.equal(found, one.generate(prompts, seeds, freeu.IDENTITY))
    assert (found[1].int() - one.generate(["two cats"], [1], freeu.IDENTITY)[0].int()).abs().max() <= 1
    # A schedule whose beginning FreeU leaves alone shares those steps, and the noise of all.
    late = freeu.Factors(1.5, 1.6, 0.9, 0.2, controls=freeu.Controls(start=0.5))
    shared = one.generate(prompts, seeds, late)
    assert torch.equal(shared, one.generate(prompts, seeds, late))
