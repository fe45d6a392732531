"""`python -m search.report`: the page as it is written, what it says and brings with it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image, ImageSequence
from typer.testing import CliRunner

from configs import UserError
from search.report import app
from search.reporting import downloads, pages
from search.reporting.front_plots import front_figures
from search.reporting.templating import rounded
from search.storage import StudyFolder
from search.storage.files import write_json
from search.voting.wording import p_value
from tests.search import made
from tests.search.terminal.test_study_status import gone_on
from tests.search.voting.people import booth


class Parts(HTMLParser):
    """The elements of a page with their attributes, and the texts of its scripts."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        if self.elements and self.elements[-1][0] == "script" and data.strip():
            self.scripts.append(data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    return made.study(tmp_path_factory.mktemp("report"))


def test_the_page_asks_for_nothing_and_lets_nothing_in(folder: StudyFolder) -> None:
    text = pages.report(folder).text
    parts = Parts(text)
    for _, attributes in parts.elements:
        for name in ("src", "href", "action", "srcset", "data"):
            assert (attributes.get(name) or "#").startswith(("#", "data:"))
    policy = next(a["content"] for _, a in parts.elements if a.get("http-equiv") == "Content-Security-Policy")
    assert policy is not None and policy.startswith("default-src 'none'; img-src data: blob:;")
    run = re.findall(r"<script>(.*?)</script>", text, re.S)
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in run]
    assert re.findall(r"'sha256-(.*?)'", policy) == digests
    assert len(digests) == 6
    assert text.count("plotly.js v") == 1


def test_it_says_what_the_study_found(folder: StudyFolder) -> None:
    text = pages.report(folder).text
    plain = " ".join(re.sub(r"<[^>]+>", " ", text.split("<main")[1].split("<dialog")[0]).split())
    assert "FreeU trades here: knee (trial 1) is better in clip, but worse in aesthetic." in plain
    # Trial 1 is 0.25 worse in aesthetic under each prompt, so there is no doubt about it.
    assert "−0.25 [−0.25, −0.25] ★ worse won 0 %" in plain
    assert "1 of 11 trials were" in plain  # trial 4 breaks the guardrails
    assert "saturation +0.30 +0.00 +0.30 1" in plain
    assert "Trial 3: out of memory" in plain
    assert "python -m search.run --study sunday-again --trials 11 --model shapes" in plain
    assert "ab" * 32 in plain
    assert "torch 2.13" in plain


def test_an_interval_beside_0_without_a_star_is_explained(tmp_path: Path) -> None:
    study, said = made.study(tmp_path), "An interval that leaves out 0 and has no star may be chance"
    assert said not in pages.report(study).text
    result = json.loads(study.result.read_text())
    result["picks"][0]["scores"]["clip"] |= {"low": 0.1, "high": 0.9, "p_holm": 0.2}
    study.result.write_text(json.dumps(result))
    assert pages.report(study).text.count(said) == 1


def test_the_rival_stands_below_the_picks(tmp_path: Path) -> None:
    study = made.study(tmp_path)
    assert "rival" not in pages.report(study).text
    result = made.with_rival(study)
    text = pages.report(study).text
    plain = " ".join(re.sub(r"<[^>]+>", " ", text.split("<main")[1].split("<dialog")[0]).split())
    assert "best-clip = knee 1 against its rival, FreeU off at guidance 4 5 30.000" in plain
    assert "+0.100 [+0.050, +0.150] ★ better won 90 %" in plain
    assert "−0.5 ★ worse" in plain  # no interval: too few prompts
    assert "Sampling settings guidance 3, 12 steps, DPM++ 2M, 64x64" in plain
    assert re.search(r"5 tuned baseline 1.000 1.000 1.000 1.000 guidance 4 ", plain)
    rows = downloads.tables(result, study.read_trials(), None)
    against = [row["against"] for row in rows["picks"] if row["pick"] == "knee"]
    assert against == ["baseline"] * 3 + ["trial 5: guidance 4"] * 2
    assert [row.get("settings") for row in rows["trials"]][4:7] == [None, "guidance 4", None]
    traces = {trace.name: trace for trace in front_figures(study.read_trials(), result)[0].data}
    off = traces["tuned baseline"]
    assert (list(off.customdata), list(off.text)) == ([5], ["guidance 4"])
    assert "FreeU off, guidance 4" in off.hovertext[0]


def test_bars_are_of_the_difference_to_the_baseline(folder: StudyFolder) -> None:
    """A score of few prompts has no other error, so one of all prompts must not be shown with its own."""
    result = folder.read_result()
    assert result is not None
    shown = {}
    for trace in front_figures(folder.read_trials(), result)[0].data:
        shown |= dict(zip(trace.customdata, trace.error_x.array, strict=True))
    assert np.isnan(shown.pop(0)) and set(shown.values()) == {0.1} and len(shown) == 10


def test_a_category_has_its_own_difference(folder: StudyFolder) -> None:
    text = pages.report(folder).text
    rows = re.findall(r"<tr><td><bdi>best-clip = knee</bdi></td>(.*?)</tr>", text, re.S)
    cells = [[re.sub(r"<[^>]+>", "", cell).strip() for cell in re.findall(r"<td.*?</td>", row, re.S)] for row in rows]
    # Of 8 prompts number 0, 3 and 6 are of animals: 0.1 times the mean of -2.5, 0.5 and 3.5.
    assert cells[0] == ["animals", "clip ↑", "3", "+0.05", "", "67 %"]
    assert cells[1] == ["animals", "aesthetic ↑", "3", "−0.25", "", "0 %"]


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (92.0914, 0.047, "92.091"),
        (29.251, 0.43, "29.25"),
        (7.06e3, 1.2, "7060.0"),
        (0.5, None, "0.5"),
        (-1.0, 0.1, "−1.00"),
    ],
)
def test_numbers_are_rounded_to_their_error(value: float, error: float | None, said: str) -> None:
    assert rounded(value, error) == said


def test_p_is_never_0_or_1() -> None:
    assert [p_value(p) for p in (0.0, 0.0004, 0.012, 0.5, 0.995, 1.0)] == [
        "< 0.001",
        "< 0.001",
        "0.012",
        "0.5",
        "> 0.99",
        "> 0.99",
    ]


def shown_pairs(text: str) -> dict[str, Any]:
    return json.loads(text.split('id="data">')[1].split("</script>")[0])["pairs"]


def test_images_that_do_not_fit_at_full_size_go_with_the_page(tmp_path: Path) -> None:
    """As links to the study's files; of a page that has room for all of them there are none."""
    folder, run = made.study(tmp_path, side=256, noise=255, trials=3), CliRunner().invoke
    where = ["--study", "sunday", "--mlruns", str(tmp_path)]
    for more, page in (
        ([], folder.root / "report.html"),
        (["--out", str(tmp_path / "a b" / "it")], tmp_path / "a b/it"),
    ):
        done = run(app, [*where, "--max-mb", "6", *more])
        assert done.exit_code == 0, done.exception
        files = shown_pairs(page.read_text())["files"]
        assert len(files) == 3 * 8 and files["base/3"].endswith("/baseline/003.webp")
        for name, address in files.items():
            number = name.partition("/")[0]
            kept = folder.held_out_image("baseline" if number == "base" else f"{int(number):04d}", int(name[-1]))
            assert (page.parent / address).samefile(kept)  # which takes no room
        assert f"{pages.folder_of(page)} holds 24 images at full size" in done.stdout
    small = made.study(tmp_path, "small", side=32, trials=3)
    run(app, ["--study", "small", "--mlruns", str(tmp_path)])
    assert shown_pairs((small.root / "report.html").read_text())["files"] == {}
    assert not pages.folder_of(small.root / "report.html").exists()


def test_trials_may_have_other_guardrails(tmp_path: Path) -> None:
    """As where a version in between measured one more."""
    folder = made.study(tmp_path, side=8, trials=3)
    for number, rails in (0, {"luma": 0.0}), (1, {"luma": 2.0, "sharpness": 3.0}), (2, {"contrast": -2.0}):
        write_json(folder.record_file(number), folder.read_trial(number).as_dict() | {"guardrails": rails})
    text = pages.report(folder).text
    assert all(name in text for name in ("luma", "sharpness", "contrast"))


@pytest.mark.parametrize("megabytes", [0.001, 15])
def test_a_stranger_s_links_lead_to_no_file_of_yours(tmp_path: Path, megabytes: float) -> None:
    """A link in an image's place: what is no image is neither in the page nor beside it; an image's own file is."""
    folder = made.study(tmp_path, side=256, noise=255, trials=3)
    (secret := tmp_path / "id_rsa").write_text("a key of yours")
    Image.new("RGB", (256, 256)).save(picture := tmp_path / "kept elsewhere.webp", lossless=True)
    for row, target in (1, secret), (2, picture):
        for file in folder.root.glob(f"confirm/*/00{row}.webp"):
            file.unlink()
            file.symlink_to(target)
    page = tmp_path / "out" / "report.html"
    pages.report(folder, megabytes, page).write(page)
    assert base64.b64encode(secret.read_bytes()).decode() not in page.read_text()
    beside = [file for file in pages.folder_of(page).rglob("*.webp")]
    assert not any(file.is_symlink() or file.samefile(secret) for file in beside)
    assert any(file.samefile(picture) for file in beside) is (megabytes < 1)  # else the page holds all


def test_a_video_is_linked_as_it_is_still_in_the_page(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=32, trials=3)
    video = torch.randint(0, 256, (8, 4, 3, 32, 32), dtype=torch.uint8)
    for name in ("baseline", "0001", "0002"):
        folder.write_held_out_images(name, 0, 8, video)
    page = tmp_path / "report.html"
    pages.report(folder, file=page).write(page)
    with Image.open(tmp_path / shown_pairs(page.read_text())["files"]["1/5"]) as kept:
        frames = [np.asarray(each.convert("RGB")) for each in ImageSequence.Iterator(kept)]
    assert np.array_equal(np.stack(frames), video[5].movedim(1, -1).numpy())  # without loss


def test_votes_stand_in_the_report(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    assert "Nobody has voted" in pages.report(folder).text
    room = booth(folder)
    card = next(card for card in room.deck.cards("ann").values() if not card.again)
    room.vote("ann", card.token, "left", 1.0, True)
    text = pages.report(folder).text
    assert "1 of 222 planned votes are cast by 1 voter" in text and "By the metrics" not in text
    room.end("ann")
    assert (
        "By the metrics: FreeU trades here" in pages.report(folder).text
        and "By 1 voter (1 vote)" in pages.report(folder).text
    )


@pytest.mark.slow
@pytest.mark.parametrize("noise", [24, 255])
def test_a_large_study_fits(tmp_path: Path, noise: int) -> None:
    """64 prompts and 40 trials, images of 192 pixels; 255 grey levels of noise don't compress."""
    folder = made.study(tmp_path, prompts=64, trials=40, side=192, noise=noise)
    text = pages.report(folder).text
    assert len(text.encode()) <= 10e6
    data = json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    assert len(data["pairs"]["images"]) == 3 * 64
    assert sum(trial["image"] is not None for trial in data["trials"].values()) == 39


def test_of_many_prompts_losses_and_gains_are_shown_alike(tmp_path: Path) -> None:
    text = pages.report(made.study(tmp_path, prompts=100, trials=3, side=8)).text
    data = json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])
    rows = [row["row"] for row in data["pairs"]["rows"]]
    assert len(rows) == 64
    assert "Of 100 pairs these are the 64 that gain or lose most" in text
    assert set(range(8)) | set(range(92, 100)) <= set(rows)  # trial 1's greatest losses and gains in clip


def test_the_command(folder: StudyFolder, tmp_path: Path) -> None:
    mlruns = str(folder.root.parents[1])
    out = tmp_path / "deep" / "it.html"
    done = CliRunner().invoke(app, ["--study", "sunday", "--mlruns", mlruns, "--out", str(out)])
    assert done.exit_code == 0
    assert re.fullmatch(rf"wrote {re.escape(str(out))} \([\d.]+ MB\): open it in a browser\n", done.stdout)
    assert [file.name for file in out.parent.iterdir()] == ["it.html"]
    done = CliRunner().invoke(app, ["--study", "sunday", "--mlruns", mlruns])
    assert (folder.root / "report.html").exists()
    for arguments, said in (
        (["--study", "sundy"], "did you mean 'sunday'"),
        (["--study", "sunday", "--out", str(tmp_path)], "is a folder: name a file in it"),
        (["--study", "sunday", "--out", str(out / "in.html")], "can't write .*in.html: File exists"),
        (["--study", "sunday", "--out", str(tmp_path / ("n" * 300))], "can't write .*File name too long"),
    ):
        done = CliRunner().invoke(app, [*arguments, "--mlruns", mlruns])
        assert isinstance(done.exception, UserError)
        assert re.search(said, str(done.exception))


def test_a_study_that_went_on_has_its_result_with_the_trials_that_it_is_of(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8, trials=5)
    before = pages.report(folder).text
    gone_on(folder)
    text = pages.report(folder).text
    fact = "<div><dt>Result</dt><dd>from the first 4 trials; 6 are complete by now</dd></div>\n"
    assert text.count(fact) == 1 and text.replace(fact, "") == before


def test_what_is_missing_is_said(tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    for file in folder.root.glob("confirm/*/*.webp"):
        file.unlink()
    (folder.root / "grids" / "0000.png").unlink()
    assert "The images are not here: " in pages.report(folder).text
    for file in folder.root.glob("confirm/*.parquet"):
        file.unlink()
    assert "No scores of single images were kept" in pages.report(folder).text


def test_studies_of_other_seeds_are_shown_by_prompt(tmp_path: Path) -> None:
    first, second = made.study(tmp_path, "one", side=8), made.study(tmp_path, "two", side=8, seed=3)
    for name in ("baseline", "0001", "0002"):  # in another order, so that a row is another prompt
        table = second.read_held_out(name)
        assert table is not None
        second.learn_held_out(name, table.iloc[::-1].reset_index(drop=True).assign(seed=range(100, 108)))
    text = pages.comparison(first, second).text
    assert "The two were drawn from other noise, as their seeds differ." in text
    shown = shown_pairs(text)
    third = shown["rows"][3]
    assert third["prompt"] == "a picture of thing 3" and third["seeds"] == [3, 104]
    kept = base64.b64encode(second.held_out_image("0001", 4).read_bytes()).decode()
    assert shown["images"]["b/0001/3"].endswith(kept)
