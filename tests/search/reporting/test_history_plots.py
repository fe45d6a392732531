"""What a report is made of: growth and importances of known searches, images to a budget, the command that begins it
again."""

from __future__ import annotations

import io
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer.main
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from freeu import IDENTITY, Factors, Sampling
from search import run
from search.optimizer.pareto_front import hypervolume
from search.reporting import factor_plots
from search.reporting.embedded_images import embedded
from search.reporting.held_out_pairs import by_category, read
from search.reporting.history_plots import FEWEST, growth, history, importances
from search.settings.config import FIELDS
from search.settings.reading import load
from search.storage import TrialRecord, Value
from search.storage.image_grid import save_images
from search.study.reproduce import command, hashes, versions
from tests.search import made


def records(table: np.ndarray, factors: np.ndarray | None = None) -> list[TrialRecord]:
    """Trials with objectives a, b, … (all "up") by the columns, and factors b1, b2, s1, s2."""
    factors = np.ones((len(table), 4)) if factors is None else factors
    return [
        TrialRecord(
            number,
            Factors(*each),
            "gp",
            "COMPLETE",
            {chr(97 + j): Value(value, 0.1, 4, "up") for j, value in enumerate(row)},
        )
        for number, (row, each) in enumerate(zip(table, factors, strict=True))
    ]


def test_hypervolume_grows_to_the_known_area() -> None:
    # In the box from (0, 0) to (4, 2): the point (4, 0) dominates nothing, (2, 1) a quarter, (0, 2) nothing, and
    # (4, 1) adds a quarter.
    table = np.array([[4, 0], [2, 1], [0, 2], [4, 1]])
    assert growth(records(table), {"a": "up", "b": "up"})[1] == pytest.approx([0, 0.25, 0.25, 0.5])
    assert growth(records(-table), {"a": "down", "b": "down"})[1] == pytest.approx([0, 0.25, 0.25, 0.5])
    assert growth(records(table[:, :1]), {"a": "up"})[1] == pytest.approx([1, 1, 1, 1])
    assert growth(records(table[:1]), {"a": "up", "b": "up"})[1] == pytest.approx([1])


def test_a_tuned_baseline_is_no_candidate() -> None:
    """It neither fills the box of the hypervolume nor spans it, and is no line of the parallel coordinates."""
    ways = {"a": "up", "b": "up"}
    alone = records(np.array([[4, 0], [2, 1], [0, 2], [4, 1]]), np.linspace(0.5, 1.5, 16).reshape(4, 4))
    off = [
        replace(alone[0], number=number, factors=IDENTITY, sampling=Sampling(guidance=9.0), values=values)
        for number, values in ((4, records(np.array([[9, 9]]))[0].values), (5, records(np.array([[-9, -9]]))[0].values))
    ]
    for mixed in (off + alone, alone + off):
        kept, shares = growth(mixed, ways)
        assert kept == alone and shares == pytest.approx([0, 0.25, 0.25, 0.5])
        lines = factor_plots.figures(mixed, ways, {})["Parallel coordinates"].data[0].dimensions
        assert {axis.label: tuple(axis.values) for axis in lines}["a"] == (4, 2, 0, 4)
    twelve = records(np.random.default_rng(0).random((12, 2)))
    told = history([*off, *(replace(each, number=each.number + 6) for each in twelve)], ways)
    assert sorted(told) == [15, 16, 17] and sorted(told[15]) == list(range(6, 16))  # the tenth brings those before it


def test_the_factor_that_matters_is_found() -> None:
    rng = np.random.default_rng(0)
    factors = rng.uniform(0.2, 1.2, (60, 4))
    factors[:, 3] = 0.5
    found = importances(records(np.stack([factors[:, 1], -factors[:, 2]], 1), factors), {"a": "up", "b": "up"})
    assert max(found["a"], key=found["a"].__getitem__) == "b2"
    assert max(found["b"], key=found["b"].__getitem__) == "s1"
    assert set(found["a"]) == {"b1", "b2", "s1"}  # s2 never varied
    assert sum(found["a"].values()) == pytest.approx(1)
    assert importances(records(factors[: FEWEST - 1], factors[: FEWEST - 1]), {"a": "up"}) == {}


def test_a_guidance_scale_is_not_taken_for_a_factor_s_merit() -> None:
    """Tuned baselines, far better than all others, change no factor's importance."""
    factors = np.random.default_rng(0).uniform(0.2, 1.2, (30, 4))
    tried = records(factors[:, 1:2], factors)
    tuned = [
        replace(one, factors=IDENTITY, sampling=Sampling(guidance=4.0), number=100 + one.number)
        for one in records(np.full((10, 1), 9.0))
    ]
    assert importances([*tried, *tuned], {"a": "up"}) == importances(tried, {"a": "up"})


def saved(folder: Path, n: int, side: int) -> dict[str, Path]:
    rng = np.random.default_rng(0)
    files = {f"{i}": folder / f"{i}.webp" for i in range(n)}
    for file in files.values():
        Image.fromarray(rng.integers(0, 256, (side, side, 3), np.uint8)).save(file, lossless=True)
    return files


def opened(uri: str) -> Image.Image:
    import base64

    return Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2])))


@pytest.mark.parametrize(
    ("budget", "sides"),
    [(10**7, [200]), (10**6, [200]), (4 * 10**5, range(100, 200)), (10**5, range(64, 100))],
)
def test_images_are_as_large_as_fits(tmp_path: Path, budget: int, sides: Any) -> None:
    files = saved(tmp_path, 20, 200)  # 20 times 120 kB of noise
    found = embedded(files | {"gone": tmp_path / "gone.webp"}, budget)
    assert list(found) == list(files)
    assert sum(map(len, found.values())) <= budget + 20 * len("data:image/webp;base64,    ")
    assert {opened(uri).width for uri in found.values()} <= set(sides)


def test_a_video_is_its_middle_frame_and_what_is_torn_is_left_out(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (16, 16), (level, 0, 0)) for level in (0, 100, 200)]
    frames[0].save(tmp_path / "video.gif", save_all=True, append_images=frames[1:])
    (tmp_path / "torn.png").write_bytes(b"\x89PNG torn")
    found = embedded({"video": tmp_path / "video.gif", "torn": tmp_path / "torn.png"}, 10**6)
    assert list(found) == ["video"]
    red, *_ = opened(found["video"]).convert("RGB").getpixel((8, 8))  # type: ignore[misc]
    assert red == pytest.approx(100, abs=4)  # WebP's loss


def test_a_kept_video_runs(tmp_path: Path) -> None:
    videos = torch.arange(2 * 3 * 3 * 8 * 8).reshape(2, 3, 3, 8, 8).to(torch.uint8)
    save_images(videos, [tmp_path / "000.webp", tmp_path / "001.webp"])
    with Image.open(tmp_path / "001.webp") as video:
        assert video.n_frames == 3  # type: ignore[attr-defined]
        video.seek(2)
        assert (np.asarray(video.convert("RGB")).transpose(2, 0, 1) == videos[1, 2].numpy()).all()


words = st.text(st.characters(exclude_categories=("C",)), min_size=1).filter(lambda text: not text.startswith("-"))
SETTINGS = st.fixed_dictionaries(
    {"model": st.just("shapes"), "device": st.just("cpu")},
    optional={
        "prompts": words,
        "loras": st.lists(words, max_size=3),
        "start_from": st.lists(words, max_size=2),
        "subject": words,
        "objectives": st.just(["clip", "fid"]),
        "guardrails": st.booleans(),
        "racing": st.booleans(),
        "slicing": st.booleans(),
        "seed": st.integers(0, 99),
        "guidance": st.floats(0, 20),
        "strength": st.floats(0.01, 1),
        "limit": st.integers(1, 99),
        "version": st.sampled_from(["v1", "v2"]),
        "batch_size": st.integers(1, 9),
        "size": st.sampled_from([[[832, 1216]], [[832, 1216], [64, 64]]]),
        "baseline_guidance": st.sampled_from(["off", [3.0], [3.0, 9.5]]),
        "margin": st.just(["clip=0.1", "fid=2"]),
        "negative_prompt": words,
    },
)


@given(SETTINGS)
def test_the_command_gives_the_settings_again(settings: dict[str, Any]) -> None:
    whole = load(None, settings).model_dump(mode="json")
    line = shlex.split(command("sunday", whole | {"fingerprint": {}, "minutes": 3.0}, 7))
    assert line[:5] == ["uv", "run", "python", "-m", "search.run"]
    given_flags = typer.main.get_command(run.app).make_context("run", line[5:]).params
    flags = {key.rstrip("_"): value for key, value in given_flags.items() if value not in (None, [])}
    again = load(None, {key: value for key, value in flags.items() if key in FIELDS}).model_dump(mode="json")
    assert again == whole | {"study": "sunday-again", "trials": 7}


def test_the_command_names_the_model_as_it_was_given() -> None:
    line = command("sunday", {"model": "mine", "model_given": "models/mine.yaml", "gpu_hours": 2.0}, 7)
    assert shlex.split(line)[5:] == ["--study", "sunday-again", "--trials", "7", "--model", "models/mine.yaml"]


def test_versions_and_hashes() -> None:
    import torch

    assert versions()["torch"] == torch.__version__.partition("+")[0] or versions()["torch"] == torch.__version__
    one = {"weights": "ab", "scorers": "cd", "seed": 1}
    found = hashes(one)
    assert found == {"fingerprint": found["fingerprint"], "weights": "ab", "objectives and reference": "cd"}
    assert hashes(one | {"seed": 2})["fingerprint"] != found["fingerprint"]


def test_pairs_of_another_order_are_not_pairs(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    result = folder.read_result()
    assert result is not None
    pairs = read(folder, result)
    assert pairs is not None and set(pairs.picks) == {1, 2}
    assert [each.name for each in pairs.pairings(folder)] == ["best-clip = knee (trial 1)", "best-fid (trial 2)"]
    gains = pairs.pairings(folder)[0].gains({"clip": "up", "aesthetic": "down"})
    np.testing.assert_allclose(gains, [0.1 * (np.arange(8) - 2.5), np.full(8, 0.25)])
    file = folder.root / "confirm" / "0001.parquet"
    table = folder.read_held_out("0001")
    assert table is not None
    table[::-1].to_parquet(file, index=False)
    pairs = read(folder, result)
    assert pairs is not None and set(pairs.picks) == {2}


def test_a_category_needs_six_prompts_for_an_interval(tmp_path: Path) -> None:
    folder = made.study(tmp_path, prompts=17, side=8)
    result = folder.read_result()
    assert result is not None
    pairs = read(folder, result)
    assert pairs is not None
    rows = {(row["pick"], row["category"], row["objective"]): row for row in by_category(pairs)}
    places = rows["best-clip = knee", "places", "clip"]  # prompts 2, 5, 8, 11, 14
    assert (places["n"], places["low"]) == (5, None)
    assert places["difference"] == pytest.approx(0.1 * (8 - 2.5))
    people = rows["best-clip = knee", "people", "clip"]
    assert people["n"] == 6 and people["low"] < people["difference"] < people["high"]


def test_settings_that_a_study_keeps_are_flags() -> None:
    """No key of the defaults is one that the command would not know how to say."""
    flags = {option for each in typer.main.get_command(run.app).params for option in each.opts}
    for key, field in FIELDS.items():
        line = shlex.split(command("s", {key: ["x"] if isinstance(field.default, tuple) else "x"}, 1))
        assert {word for word in line if word.startswith("--")} <= flags, key


def test_the_pages_of_a_large_study_are_made_by_the_front_s_cap(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exact Gaussian process of 10,000 trials takes 9 GB; the growth of the front is that of every beginning."""
    rng, fitted = np.random.default_rng(0), list[int]()
    real = factor_plots.GaussianProcess

    def counted(x: np.ndarray, y: np.ndarray, spread: np.ndarray) -> Any:
        fitted.append(len(x))
        return real(x, y, spread)

    monkeypatch.setattr(factor_plots, "GaussianProcess", counted)
    monkeypatch.setattr(factor_plots, "MOST", 30)
    records = []
    for number, (b, s, noise) in enumerate(rng.random((60, 3))):
        scores = {"a": Value(float(b - s), 0.1, 4, "up"), "b": Value(float(noise), 0.1, 4, "down")}
        records.append(TrialRecord(number, Factors(1 + b, 1, s, 1), "sobol", "COMPLETE", scores))
    ways = {"a": "up", "b": "down"}
    assert set(factor_plots.figures(records, ways, {"b1": 1.2, "s1": 0.5})) >= {"Slices of a", "Slices of b"}
    assert fitted == [30, 30]
    table = np.array([[r.values["a"].value, -r.values["b"].value] for r in records])
    scaled = (table - table[:10].min(0)) / np.ptp(table[:10], axis=0)  # the first ten make the box
    each = [hypervolume(scaled[: k + 1], np.zeros(2)) for k in range(60)]
    np.testing.assert_allclose(growth(records, ways)[1], each, rtol=1e-12)
