"""A device that isn't called so: what is meant is named."""

from __future__ import annotations

import pytest

from configs import UserError, devices


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("gpu", "cuda"),
        ("GPU", "cuda"),
        ("gpu:1", "cuda:1"),
        ("CUDA", "cuda"),
        ("rocm", "cuda"),
        ("cuda1", "cuda"),
        ("metal", "mps"),
        ("cup", "cpu"),
    ],
)
def test_what_is_meant_is_named(name: str, meant: str) -> None:
    with pytest.raises(UserError, match=f"unknown device '{name}': did you mean '{meant}'"):
        devices.check(name)


@pytest.mark.parametrize("name", ["", "cpu:1", "cuda:", "cuda:-1", "meta", "xyzzy"])
def test_others_are_refused(name: str) -> None:
    with pytest.raises(UserError, match=r"unknown device .*known: cpu, cuda, cuda:0, mps"):
        devices.check(name)


def test_what_is_not_on_this_machine_is_told() -> None:
    devices.check_present("cpu")
    with pytest.raises(UserError, match="this machine has no device 'cuda:99': try --device cpu"):
        devices.check_present("cuda:99")
