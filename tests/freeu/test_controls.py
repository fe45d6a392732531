"""What the user interfaces let one set beside the factors."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import freeu
from freeu import Controls, Factors
from freeu.factors import FactorsError
from freeu.schedule import Steps, weight


@pytest.mark.parametrize(
    ("controls", "wanted"),
    [
        # by hand, at 0, 0.1 .. 0.9 of the run
        (Controls(), [1] * 10),
        (Controls(start=0.2, stop=0.5), [0, 0, 1, 1, 1, 0, 0, 0, 0, 0]),
        (Controls(start=0.2, stop=0.7, smooth=1), [0, 0.5, 1, 0.8, 0.6, 0.4, 0.2, 0, 0, 0]),
        (Controls(start=0.2, stop=0.7, smooth=0.5), [0, 0.25, 1, 0.9, 0.8, 0.7, 0.6, 0, 0, 0]),
        (Controls(smooth=1), [1, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1]),
    ],
)
def test_the_schedule_by_hand(controls: Controls, wanted: list[float]) -> None:
    found = weight(torch.arange(10), 10, controls)
    torch.testing.assert_close(found, torch.tensor(wanted, dtype=torch.float32), atol=1e-6, rtol=0)


def theirs(step: int, steps: int, c: Controls) -> float:
    """What sd-webui-freeu does (its lib_free_u/unet.py), in other words."""
    start, stop = int(c.start * steps + 1e-9), int(c.stop * steps + 1e-9)
    flat = 1.0 if start <= step < stop else 0.0
    if start == stop:
        ramp = 0.0
    elif step < start:
        ramp = min(1.0, max(0.0, step / start))
    else:
        ramp = min(1.0, max(0.0, 1 + (step - start) / (start - stop)))
    return (1 - c.smooth) * flat + c.smooth * ramp


share = st.integers(0, 20).map(lambda n: n / 20)


@given(share, share, share, st.integers(1, 60))
def test_the_schedule_is_the_web_uis(start: float, stop: float, smooth: float, steps: int) -> None:
    assume(start < stop)
    controls = Controls(start=start, stop=stop, smooth=smooth)
    wanted = [theirs(step, steps, controls) for step in range(steps)]
    torch.testing.assert_close(weight(torch.arange(steps), steps, controls).tolist(), wanted, atol=1e-6, rtol=0)


def test_steps_are_told_by_timesteps() -> None:
    from diffusers import DDIMScheduler, EulerDiscreteScheduler

    scheduler = DDIMScheduler(timestep_spacing="trailing")
    scheduler.set_timesteps(20)
    number, steps = Steps(scheduler)(scheduler.timesteps)
    assert number.tolist() == list(range(20)) and steps == 20
    number, steps = Steps()(scheduler.timesteps)
    assert (number / steps).tolist() == pytest.approx([i / 20 for i in range(20)])
    # Image to image runs the last timesteps alone: told by the scheduler, or seen by where timesteps go back.
    euler = EulerDiscreteScheduler(timestep_spacing="trailing")
    euler.set_timesteps(20)
    euler.set_begin_index(12)
    for begun, steps_of in ((12, Steps(euler)), (14, ddim := Steps(scheduler)), (9, ddim)):
        seen = [tuple(map(int, steps_of(t))) for t in scheduler.timesteps[begun:]]
        assert seen == [(i, 20 - begun) for i in range(20 - begun)]


def test_the_symmetric_filter_commutes_with_mirroring_and_the_papers_does_not() -> None:
    x = torch.randn(1, 3, 12, 10, generator=torch.Generator().manual_seed(0))
    for dims in ((-1,), (-2,), (-1, -2)):
        mirrored = freeu.skip_filter(x.flip(dims), 0.2, symmetric=True)
        torch.testing.assert_close(mirrored, freeu.skip_filter(x, 0.2, symmetric=True).flip(dims))
    assert (freeu.skip_filter(x.flip(-1), 0.2) - freeu.skip_filter(x, 0.2).flip(-1)).abs().max() > 0.01


@pytest.mark.parametrize("threshold", [1, 2, 4])
def test_the_symmetric_filter_is_the_mean_over_reflections(threshold: int) -> None:
    x = torch.randn(1, 3, 8, 9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    flips = [(), (-1,), (-2,), (-1, -2)]
    wanted = sum(freeu.skip_filter(x.flip(dims), 0.2, threshold).flip(dims) for dims in flips) / 4
    torch.testing.assert_close(freeu.skip_filter(x, 0.2, threshold, symmetric=True), wanted)


def test_dict_round_trip() -> None:
    factors = Factors(1.3, 1.4, 0.9, 0.2, controls=Controls(stop=0.5, high=(1, 1.1, 1), symmetric=True))
    plain = factors.as_dict()
    assert plain["controls"] == {"stop": 0.5, "high": [1, 1.1, 1], "symmetric": True}
    assert Factors.from_dict(plain) == factors
    assert "controls" not in Factors(1.3, 1.4, 0.9, 0.2).as_dict()


def test_one_value_for_all_stages_is_three_equal_ones() -> None:
    assert Controls(width=(0.3, 0.3, 0.3)) == Controls(width=0.3)
    assert [Controls(width=(0.1, 0.2, 0.3)).of(stage, "width") for stage in (1, 2, 3)] == [0.1, 0.2, 0.3]


@pytest.mark.parametrize("some", [{"b3": 1.1}, {"s3": 0.5}, {"high": 0.9}])
def test_ones_with_an_acting_control_are_no_identity(some: dict) -> None:
    assert not Factors(1, 1, 1, 1, controls=Controls(**some)).identity
    assert Factors(1, 1, 1, 1, controls=Controls(stop=0.5, width=0.2)).identity


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"start": 0.5, "stop": 0.5}, "start is 0.5 and stop 0.5: start has to come first"),
        ({"start": -0.1}, "start is -0.1: it lies between 0 and 1"),
        ({"smooth": float("nan")}, "smooth is nan"),
        ({"width": 1.5}, "width is 1.5"),
        ({"offset": (0, 1)}, r"offset is \(0, 1\): one number, or three"),
        ({"threshold": 0}, "threshold is 0.0: it lies between 1"),
        ({"threshold": 1.5}, "threshold is 1.5: a whole number"),
        ({"b3": float("inf")}, "b3 is inf"),
        ({"high": "1"}, "high is '1': expected a number"),
        ({"symmetric": 1}, "symmetric is 1: true or false"),
        ({"treshold": 2}, "treshold.*threshold"),
    ],
)
def test_bad_controls_are_refused(values: dict, says: str) -> None:
    with pytest.raises(FactorsError, match=says):
        Controls.from_dict(values)


def test_controls_that_are_none_are_refused() -> None:
    with pytest.raises(FactorsError, match="controls are 'x': expected a mapping"):
        Factors.from_dict({"b1": 1, "b2": 1, "s1": 1, "s2": 1, "controls": "x"})
    with pytest.raises(FactorsError, match=r"controls are \{\}: expected freeu.Controls"):
        Factors(1, 1, 1, 1, controls={})  # type: ignore[arg-type]
