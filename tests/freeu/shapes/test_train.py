"""Training at toy size: the loop learns, a run that was killed goes on where it was, the command makes every file."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from configs import path as shipped
from freeu.shapes.loop import Draw, Plan, train
from freeu.shapes.words import tokenizer


def loss_for(net: nn.Module, stop_at: int | None = None):
    def loss(draw: Draw) -> torch.Tensor:
        x = torch.randn(16, 3, generator=draw.torch)
        if stop_at is not None and loss.calls == stop_at:
            raise KeyboardInterrupt
        loss.calls += 1
        return (net(x)[:, 0] - x.sum(dim=1)).square().mean()

    loss.calls = 0
    return loss


def fresh() -> nn.Module:
    torch.manual_seed(0)
    return nn.Linear(3, 1)


def test_the_loop_learns(tmp_path: Path) -> None:
    net = fresh()
    train(net, loss_for(net), Plan("toy", 400, 0.05, warmup=10, average=0.9), tmp_path)
    # The target is the sum of the inputs: weights of 1 and a bias of 0.
    torch.testing.assert_close(net.weight.detach(), torch.ones(1, 3), atol=0.02, rtol=0)


def test_a_killed_run_goes_on_to_the_same_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = Plan("toy", 40, 0.05, warmup=5, average=0.9)
    whole = fresh()
    (tmp_path / "a").mkdir()
    train(whole, loss_for(whole), plan, tmp_path / "a")
    # A clock that jumps 61 s a look makes the loop keep a checkpoint at every step.
    clock = iter(range(0, 10**9, 61))
    monkeypatch.setattr("freeu.shapes.loop.time.monotonic", lambda: next(clock))
    (tmp_path / "b").mkdir()
    part = fresh()
    with pytest.raises(KeyboardInterrupt):
        train(part, loss_for(part, stop_at=17), plan, tmp_path / "b")
    again = fresh()
    train(again, loss_for(again), plan, tmp_path / "b")
    torch.testing.assert_close(again.weight, whole.weight, atol=0, rtol=0)


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    plan = Plan("toy", 100, 1.0, warmup=10)
    assert plan.rate(0) == pytest.approx(0.1)
    assert plan.rate(9) == pytest.approx(1.0)
    assert plan.rate(55) == pytest.approx(0.5)
    assert plan.rate(99) < 0.001


def test_the_tokenizer_is_the_shipped_one() -> None:
    """Its numbers are those of the text encoder's rows: made again in any process, they must not change."""
    file = shipped("models", "shapes", "tokenizer", "vocab.json")
    assert tokenizer().get_vocab() == json.loads(file.read_text("utf-8"))


@pytest.mark.slow
def test_the_command_makes_every_file(tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [sys.executable, "-m", "freeu.shapes.train", "--out", str(out), "--work", str(tmp_path / "work")]
    subprocess.run([*command, "--scale", "0.001"], check=True, timeout=1500)
    made, wanted = (
        {str(file.relative_to(root)) for file in root.rglob("*") if file.is_file()}
        for root in (out, shipped("models", "shapes"))
    )
    assert made == wanted - {"README.md"}
