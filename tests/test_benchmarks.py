"""The benchmarks run, at toy sizes; what they measure is for people to read."""

from __future__ import annotations

import math
import re
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import (
    figures,
    gpu,
    gpu_parts,
    hostile,
    landscapes,
    low_steps,
    metrics,
    naive,
    overhead,
    record,
    rival,
    served,
    trial,
    unet,
    votes,
)
from search.optimizer.pareto_front import hypervolume, nondominated

ROOT = Path(__file__).parent.parent


def printed(name: str, *options: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / name), *options]
    return subprocess.run(command, capture_output=True, text=True, check=True, cwd="/").stdout


SCRIPTS = ["agreement", "cost_front", "figures", "gpu", "hostile", "judges", "judging", "low_steps", "metrics", "naive"]
SCRIPTS += ["overhead", "record", "rival", "served", "shapes_card", "trial", "true_size", "unet", "votes", "waiting"]
"""Those that no test below runs in a process of its own."""


@pytest.mark.parametrize("name", SCRIPTS)
def test_begins_as_a_script(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The command line is read, and the project is found from anywhere."""
    monkeypatch.chdir("/")
    monkeypatch.setattr(sys, "path", [each for each in sys.path if Path(each).resolve() != ROOT])
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"), run_name="__main__")
    assert ended.value.code == 0 and str(ROOT) in sys.path
    assert "Usage: " in capsys.readouterr().out


def test_filter() -> None:
    said = printed("filter.py", "--device", "cpu", "--rounds", "1", "--shrink", "160")
    assert "times as fast as diffusers (geometric mean)" in said
    rows = [line.split() for line in said.splitlines() if line.rstrip().endswith("eps")]
    assert len(rows) == 14
    # Both computed the same: some roundings of values round 1.
    assert all(float(row[-2]) < 50 for row in rows)


def test_calibration() -> None:
    said = printed("calibration.py", "--runs", "2", "--prompts", "20").splitlines()
    named = [line[:36].strip() for line in said]
    assert named[0] == "coverage, clip, within" and named[-1] == "coverage, kid" and len(said) == 13
    assert all(re.search(r"(star|coverage,.*) \d\.\d{3} ± \d\.\d{3}|five .* ± ", line) for line in said)


def test_landscapes() -> None:
    said = printed("landscapes.py", "--seeds", "2", "--trials", "8", "--workers", "1", "--only", "edge").splitlines()
    assert [line[35:].split()[0] for line in said[1:]] == 2 * ["TPE", "NSGA-II", *3 * ["ours"], *3 * ["1000"]]
    shares = [float(part) for line in said[1:] for part in re.findall(r"([0-9.]+) ±", line) if "at its end" not in line]
    assert len(shares) == 2 * (3 * 4 + 3) and max(shares) <= 1.0


@pytest.mark.parametrize("rails", [False, True])
def test_a_landscapes_front_is_the_whole_one(rails: bool) -> None:
    """At an edge, and in a corner of the guardrails, points at random miss a part of it; none is beyond it."""
    land, reference, whole = landscapes.world("edge", 3, rails)
    points = np.random.default_rng(1).random((20_000, 4))
    truths = land.truth(points[np.abs(land.within(points)) <= 1] if rails else points)
    found = hypervolume(truths[nondominated(truths)], reference)
    assert 0.5 * whole < found < 0.9 * whole
    both = np.concatenate([truths, land.truth(land.front(rails))])
    assert hypervolume(both[nondominated(both)], reference) == pytest.approx(whole, rel=0.01)


def test_votes(capsys: pytest.CaptureFixture[str]) -> None:
    votes.main(runs=6, prompts=24)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5 and said[0].startswith("50 %,  93 votes planned") and "(80 % promised)" in said[2]


def test_unet(capsys: pytest.CaptureFixture[str]) -> None:
    unet.main(device="cpu", size="toy", rounds=1)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said[1:]] == ["off", "ours", "diffusers"]


def test_gpu(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """All parts at toy size; what needs a card is said to be unmeasured, and nothing fails."""
    gpu.main("cpu", True, "", 9, tmp_path / "gpu.md")
    said, table = capsys.readouterr().out, (tmp_path / "gpu.md").read_text()
    assert "failed" not in said
    for what in ("matrix product, float32", "filter, geometric mean", "U-Net toy, 1 under guidance, ours, v1 by block"):
        assert what in said and f"| {what} |" in table
    for what in ("trial toy, float32, naive loop by 16", "batch of 2 from batch of 1", "U-Net toy, 2 images"):
        assert what in table
    for part, what in (("filter", "a graph's replay"), ("compiled", "compiled U-Nets"), ("agreement", "with the CPU")):
        assert re.search(rf"\| {part}: not measured \| .*{what} needs? a CUDA device", table)


def test_gpu_tells_where_it_is_idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a card, where the stages of a trial are profiled one by one."""
    world = trial.made("toy", 16, "cpu", "float32", 1, False, tmp_path, False, True)
    bench = gpu_parts.Bench(torch.device("cuda"), True, torch.float32, tmp_path, math.inf, rate=1.0)
    ran: list[object] = []
    monkeypatch.setattr(trial, "made", lambda *given: world)
    monkeypatch.setattr(gpu_parts, "_idle", lambda run, device: ran.append(run()) or 0.25)
    found = dict(gpu_parts._trial(bench, "a trial", "float32", False, whole=True))
    stages = ("all of it", "drawing", "scoring", "writing")
    assert [found[f"a trial, {stage}, idle"] for stage in stages] == ["25 %"] * 4
    assert ran[1].shape[0] == len(ran[2]) == 16  # type: ignore[attr-defined, arg-type]


@pytest.mark.slow
def test_gpu_compiles_once_for_all_factors(tmp_path: Path) -> None:
    bench = gpu_parts.Bench(torch.device("cpu"), True, torch.float32, tmp_path, math.inf)
    rows = list(gpu_parts.compiled_ways(bench, "toy", "eager"))
    assert [label.rpartition("compiled, ")[2] for label, _ in rows] == [
        "off",
        "ours, v2 by width",
        "ours, v2 by width, blocks alone",
    ]
    assert all("graphs compiled: 1, first" in value for _, value in rows[:2])
    assert int(rows[2][1].partition("compiled: ")[2].partition(",")[0]) > 1  # one for each width


def test_gpu_ends_in_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within a part, too: what is measured by then is told."""
    bench = gpu_parts.Bench(torch.device("cpu"), True, torch.float32, tmp_path, 1.0)
    monkeypatch.setattr(gpu.time, "monotonic", iter([0.0, 1.0, 2.0]).__next__)
    monkeypatch.setitem(gpu.PARTS, "filter", lambda _: iter([("a", "1"), ("b", "2"), ("c", "3")]))
    assert list(gpu.measured(bench, "filter")) == [
        ("a", "1"),
        ("b", "2"),
        ("filter: not measured", "the time is up (--minutes)"),
    ]


def test_low_steps() -> None:
    """Few steps that rank alike try more candidates for as many images, others fewer."""
    random = np.random.default_rng(0)
    own, truths = random.normal(size=(200, 1, 2)), random.normal(size=(200, 2))
    world = low_steps.World(own + random.normal(size=(200, 48, 2)), truths)
    assert all(np.allclose(world.estimated(n)[0], world.scores[0].mean(0)) for n in (12, 24, 48))
    assert world.worth(list(range(200))) == pytest.approx(1)
    _, plain, _ = low_steps.raced(world, low_steps.PLAIN, 0.5, 600, 0)
    _, more, used = low_steps.raced(world, 1.0, 0.1, 600, 0)
    _, fewer, unused = low_steps.raced(world, 0.5, 0.5, 600, 0)
    assert more > plain > fewer and used and not unused


def test_rival(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where half the study's guidance is best, FreeU helps and adds nothing to that; where the study's is, neither."""
    monkeypatch.setattr("optuna.logging.set_verbosity", lambda level: None)  # it would hold for the tests after this
    answer = rival.studied(rival.World(), 0, 12)
    assert answer.helps and not answer.adds
    assert answer.finalists and all(true < 0 for true, _, _ in answer.finalists)
    # All prompts under the baseline and under half its guidance; two of the ten that stop after 12 are tuned ones too.
    assert answer.share == pytest.approx((48 + 2 * 12) / (2 * 48 + 10 * 12))
    assert not rival.studied(rival.World(best=7.0), 0, 12).helps


def test_trial(capsys: pytest.CaptureFixture[str]) -> None:
    """In this process, for the sake of its imports: both ways, and parts that are all of the time."""
    trial.main("toy", "cpu", None, 16, 2, "16", 1, False)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("toy, 16 images of 128 pixels, 2 steps, cpu, float32")
    assert [line[:22].strip() for line in said[2:4]] == ["ours", "naive, 16 at a time"]
    parts = {name: float(share) for name, share in re.findall(r"([\w-]+) ([\d.]+) %", said[5])}
    assert set(parts) == {"U-Net", "decode", "encoders", "logging", "rest", "FreeU", "text"}
    assert sum(parts.values()) == pytest.approx(100, abs=0.5)  # seven roundings
    assert parts["U-Net"] > parts["FreeU"] > 0


def test_served(capsys: pytest.CaptureFixture[str]) -> None:
    served.main(images=2, seconds=0.01)
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["comfyui", "webui"]


def test_overhead(capsys: pytest.CaptureFixture[str]) -> None:
    overhead.main(trials=4, limit=16, steps=1)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("imports") and "generating and scoring" in said[1]
    assert re.fullmatch(r"neither generating nor scoring: [\d.]+ %, [\d.]+ s a trial", said[2])
    assert re.search(r"beside it: [\d.]+ s, [\d.]+ %", said[3])


def test_report() -> None:
    said = printed("report.py", "--prompts", "6", "--trials", "4", "--side", "8")
    cost = r"[\d.]+ s \(([\d.]+) s of processor\), ([\d.]+) GB, ([\d.]+) MB; held-out images [\d.]+ MB\n"
    found = re.fullmatch(f"6 prompts, 4 trials: {cost}", said)
    assert found is not None
    assert 0.05 < float(found[2]) < 1  # a process with pandas and plotly, and not its parent with torch
    assert 4.8 < float(found[3]) < 6  # plotly and little else


def test_metrics(capsys: pytest.CaptureFixture[str]) -> None:
    metrics.main(rounds=1, shrink=32)
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 5 and "times as fast" in said[-1]
    assert all(float(line.split()[-1]) < 1e-6 for line in said[1:3])  # the same distance


def test_search(tmp_path: Path) -> None:
    """On a made-up table: scores that fall with the distance from some factors, and features that move with them."""
    rng = np.random.default_rng(0)
    factors = rng.uniform([0.8, 0.8, 0.0, 0.0], [1.8, 1.8, 1.2, 1.2], (24, 4))
    far = np.square(factors - [1.2, 1.1, 0.9, 0.8]).sum(1)[:, None, None] + 0.05 * rng.normal(size=(24, 2, 16))
    features = rng.normal(size=(2, 16, 128)) + far[..., None]
    table = {"factors": factors, "clip": 90 - far, "aesthetic": 9 - far**2, "features": features}
    np.savez(tmp_path / "table.npz", **table, prompts=[f"p{i}" for i in range(16)])
    options = ("--table", str(tmp_path / "table.npz"), "--picture", str(tmp_path / "curves.png"))
    said = printed("search.py", "--seeds", "1", "--trials", "8", "--workers", "2", *options).splitlines()
    rows = [line.rsplit(maxsplit=8) for line in said[2:8]]
    assert [row[0] for row in rows] == ["random", "NSGA-II", "TPE", "GP", "ours, no racing", "ours"]
    assert all(0 <= float(value) <= 1.5 for row in rows for value in row[1:])
    assert said[-1].startswith("ours: TPE's final")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_record(tmp_path: Path) -> None:
    """The baseline and the published factors alone."""
    record.main(candidates=0, limit=16, out=tmp_path / "table.npz")
    with np.load(tmp_path / "table.npz") as table:
        assert table["factors"].shape == (2, 4)
        assert table["clip"].shape == table["aesthetic"].shape == table["features"].shape[:3] == (2, 2, 16)


def test_coordinator() -> None:
    said = printed(
        "coordinator.py", "--workers", "3", "--seconds", "0.002", "--trials", "8", "--finished", "100", "--whole", ""
    )
    busy, *costs = said.splitlines()
    found = re.match(r"3 workers, 0.002 s an image: busy ([\d.]+)% of their time", busy)
    assert found is not None
    assert 0 < float(found[1]) <= 100
    assert [line.split(":")[0].split() for line in costs] == [["100", "trials,", name] for name in ("random", "gp")]


def test_naive(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole comparison, on few images: both runs have checkpoints, and their images are counted."""
    monkeypatch.setattr("optuna.logging.set_verbosity", lambda level: None)  # it would hold for the tests after this
    naive.main(trials=4, limit=16, held_out=16, steps=2)
    said = capsys.readouterr().out.splitlines()
    assert said[0].startswith("naive: seconds")
    assert said[-1].startswith("ours ")
    last = [line.split() for line in said[: said.index(next(x for x in said if x.startswith("ours:")))]][-1]
    assert int(last[1]) == 64


def test_figures(capsys: pytest.CaptureFixture[str]) -> None:
    figures.main(images=2)
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["plain", "recorded", "recording"]


@pytest.mark.parametrize("kind", ["yaml", "json", "safetensors", "png", "webp", "csv", "parquet", "workflow", "study"])
def test_hostile(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """In this process; no file of a stranger ends in anything but a `UserError`."""
    with pytest.raises(SystemExit) as ended:
        hostile.main(cases=40, kind=[kind], seconds=600)
    assert not ended.value.code, capsys.readouterr().out
    cases, read, refused, failed = map(int, capsys.readouterr().out.splitlines()[1].split()[1:5])
    assert cases == read + refused == 40 and failed == 0 < min(read, refused)
