"""`python -m search.compare`: known differences, what is paired and what is not, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy.stats import t as student
from typer.testing import CliRunner

from configs import UserError
from search.compare import app
from search.reporting.study_comparison import compared, side
from search.storage import StudyFolder
from search.storage.files import write_json
from search.study.held_out import BASE
from tests.search import made
from tests.search.terminal.test_study_status import gone_on


def copied(folder: StudyFolder, name: str) -> StudyFolder:
    """The study again, under another name."""
    other = StudyFolder(folder.root.parents[1], name)
    shutil.copytree(folder.root, other.root)
    return other


def changed(folder: StudyFolder, key: str, **columns: object) -> None:
    """Give a candidate other scores; a function gets the old column."""
    table = folder.read_held_out(key)
    assert table is not None
    table = table.assign(**{name: change(table[name]) for name, change in columns.items()})
    table.to_parquet(folder.root / "confirm" / f"{key}.parquet", index=False)


@pytest.fixture
def a(tmp_path: Path) -> StudyFolder:
    return made.study(tmp_path, prompts=12, side=8, trials=3)


def rows(found: dict) -> dict[tuple[str, str], dict]:
    return {(row["candidate"], row["objective"]): row for row in found["rows"]}


def test_pairs_are_told_apart_to_the_prompt(a: StudyFolder) -> None:
    b = copied(a, "monday")
    changed(b, "0001", clip=lambda old: old + 0.5, aesthetic=lambda old: old - np.arange(12) % 2)
    found = compared(side(a), side(b))
    assert (found["paired"], found["n"]) == (True, 12)
    assert found["note"] == "in pairs, on 12 prompts under the same seeds"
    row = rows(found)["best-clip = knee", "clip"]
    # Far below what prompts differ by (1), and known to the last digit, since each pair differs by the same.
    assert [row[key] for key in ("difference", "low", "high")] == pytest.approx([0.5] * 3)
    assert row["b"] - row["a"] == pytest.approx(0.5)
    assert row["win_rate"] == 1 and row["counts"]
    assert row["p_holm"] > row["p"]
    row = rows(found)["best-clip = knee", "aesthetic"]
    assert row["difference"] == pytest.approx(-0.5)
    assert row["win_rate"] == 0.25  # six ties count half, six are lost
    assert {name for name, _ in rows(found)} == {"best-clip = knee", "best-fid"}  # the baseline is the same: no test
    fid = rows(found)["best-fid", "fid"]
    assert (fid["a"], fid["b"], fid["difference"], fid["low"], fid["counts"]) == (101, 101, 0, None, False)


def test_the_order_of_the_prompts_is_no_matter(a: StudyFolder) -> None:
    b = copied(a, "monday")
    for key in (BASE, "0001", "0002"):
        table = b.read_held_out(key)
        assert table is not None
        table[::-1].to_parquet(b.root / "confirm" / f"{key}.parquet", index=False)
    assert all(row["difference"] == pytest.approx(0) for row in compared(side(a), side(b))["rows"])


def test_other_seeds_are_two_samples(a: StudyFolder) -> None:
    b = copied(a, "monday")
    for key in (BASE, "0001", "0002"):
        changed(b, key, seed=lambda old: old + 1, clip=lambda old: 2 * old)
    found = compared(side(a), side(b))
    assert not found["paired"]
    assert found["note"].startswith("unpaired, on 12 prompts, since their seeds differ")
    row = rows(found)["best-clip = knee", "clip"]
    table = a.read_held_out("0001")
    assert table is not None
    x, y = table["clip"].to_numpy(), 2 * table["clip"].to_numpy()
    # Welch's interval, by hand.
    u, v = x.var(ddof=1) / 12, y.var(ddof=1) / 12
    freedom = (u + v) ** 2 / (u**2 / 11 + v**2 / 11)
    reach = student.ppf(0.975, freedom) * np.sqrt(u + v)
    assert row["difference"] == pytest.approx(y.mean() - x.mean())
    assert (row["low"], row["high"]) == pytest.approx((y.mean() - x.mean() - reach, y.mean() - x.mean() + reach))
    assert row["win_rate"] is None


def test_more_images_of_a_prompt_are_no_more_samples(a: StudyFolder) -> None:
    """Each of B's prompts three times, as alike as can be: the same interval as from one of each."""
    b = copied(a, "monday")
    for key in (BASE, "0001", "0002"):
        changed(b, key, seed=lambda old: old + 100, clip=lambda old: 2 * old)
    once = compared(side(a), side(b))
    for key in (BASE, "0001", "0002"):
        table = b.read_held_out(key)
        assert table is not None
        more = pd.concat([table, table.assign(seed=table["seed"] + 100), table.assign(seed=table["seed"] + 200)])
        more.to_parquet(b.root / "confirm" / f"{key}.parquet", index=False)
    found = compared(side(a), side(b))
    assert found["n"] == 12 and found["note"].startswith("unpaired, on 12 prompts, since")
    one, three = (rows(each)["best-clip = knee", "clip"] for each in (once, found))
    assert (three["low"], three["high"], three["p"]) == pytest.approx((one["low"], one["high"], one["p"]))


def test_of_other_prompts_those_in_common(a: StudyFolder) -> None:
    b = copied(a, "monday")
    for key in (BASE, "0001", "0002"):
        table = b.read_held_out(key)
        assert table is not None
        table[:5].to_parquet(b.root / "confirm" / f"{key}.parquet", index=False)
    found = compared(side(a), side(b))
    assert (found["paired"], found["n"]) == (True, 5)
    assert found["note"] == (
        "in pairs, on 5 prompts that both have (of 12 and 5) under the same seeds; "
        "fid left out: a distance of sets compares on one set of prompts alone"
    )
    assert {row["objective"] for row in found["rows"]} == {"clip", "aesthetic"}


def test_what_does_not_compare_says_why(a: StudyFolder, tmp_path: Path) -> None:
    def refused(b: StudyFolder, said: str) -> None:
        with pytest.raises(UserError, match=said):
            compared(side(a), side(b))

    refused(a, "are one study")
    other = copied(a, "objectives")
    result = other.read_result()
    assert result is not None
    write_json(other.result, result | {"objectives": {"clip": "up"}})
    refused(other, r"they have other objectives \(clip,aesthetic,fid and clip\)")
    for key in ("scorers", "scorer_weights"):
        other = copied(a, key)
        config = yaml.safe_load(other.config.read_text())
        other.config.write_text(yaml.safe_dump(config | {"fingerprint": {**config["fingerprint"], key: "two"}}))
        refused(other, "measured by other encoders, or with another reference")
    refused(made.study(tmp_path, "prompts", prompts=["x", "y", "z"], side=8, trials=3), "other prompts .0 in common")
    other = copied(a, "bare")
    (other.root / "confirm" / f"{BASE}.parquet").unlink()
    refused(other, "'bare' has no scores on held-out prompts")
    other = copied(a, "unfinished")
    other.result.unlink()
    refused(other, "'unfinished' is not finished")


def test_the_command(a: StudyFolder) -> None:
    changed(copied(a, "monday"), "0001", clip=lambda old: old + 0.5)
    command = ["sunday", "monday", "--mlruns", str(a.root.parents[1])]
    said = CliRunner().invoke(app, command).stdout
    assert "A = sunday, of shapes" in said
    assert re.search(r"best-clip = knee +clip ↑ +[\d.]+ +[\d.]+ +\+0.5 +\[\+0.5, \+0.5\]\* +[\d.]+ +100 %", said)
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert found["b"] == {"study": "monday", "model": "shapes", "sampling": "", "result": ""}
    assert isinstance(CliRunner().invoke(app, ["sunday", "mondy", *command[2:]]).exception, UserError)


def test_other_sampling_settings_come_before_any_number(a: StudyFolder) -> None:
    """What both have alike is not said, and what one of them lacks is said of the other."""
    for folder, own in ((a, {"guidance": 7.0}), (copied(a, "monday"), {"guidance": 4.0, "eta": 0.0})):
        result = folder.read_result()
        assert result is not None
        write_json(folder.result, result | {"sampling": {"steps": 20, "size": [64, 96], **own}})
    said = CliRunner().invoke(app, ["sunday", "monday", "--mlruns", str(a.root.parents[1])]).stdout
    assert said.startswith("A = sunday, of shapes, at guidance 7\nB = monday, of shapes, at guidance 4, eta 0\n")


def test_a_result_that_is_not_of_all_trials_is_said_to(a: StudyFolder) -> None:
    gone_on(copied(a, "monday"))
    command = ["sunday", "monday", "--mlruns", str(a.root.parents[1])]
    said = CliRunner().invoke(app, command).stdout
    note = "from the first 3 trials; 5 are complete by now"
    assert f"A = sunday, of shapes\nB = monday, of shapes; its result is {note}\n" in said
    assert json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)["b"]["result"] == note
