"""`python -m search.report` as a person reads it: in a browser with a mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator
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
from search.reporting.mlflow_page import study_page
from search.reporting.templating import rounded
from search.storage import StudyFolder
from search.voting.wording import p_value
from tests.browser import axe_faults, chromium, requested, until
from tests.search import made
from tests.search.terminal.test_study_status import gone_on
from tests.search.voting.people import booth

HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>",
    "\"'><svg onload=window.pwned=3> {{ 7 * 7 }} </script><script>window.pwned=4</script> <!--",
    "bell \x07 escape \x1b[31m null \x00 line\nbreak \u202eturned round\u202c",
    "صورة قطة صغيرة على سجادة حمراء",
    "long " + "x" * 10_000,
    "javascript:window.pwned=5",
)


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


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> StudyFolder:
    """A study whose every text is an attack; its folder's name too."""
    evil = HOSTILE[0].replace("/", "")
    place = tmp_path_factory.mktemp("hostile")
    return made.study(
        place,
        evil,
        prompts=HOSTILE,
        trials=5,
        model=HOSTILE[1],
        origin=HOSTILE[0],
        verdict=HOSTILE[1] + "half a pair: \ud83d",
    )


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    # A GPU is imitated, for the plot in 3-D.
    profile = tmp_path_factory.mktemp("profile")
    yield from chromium(profile, "--use-angle=swiftshader", "--enable-unsafe-swiftshader")


def shown(browser: Any, folder: StudyFolder, *, dark: bool = False, phone: bool = False) -> None:
    """Open the study's report, all drawn, no image open; where it is open already it is taken as it stands."""
    file = folder.root.parents[1] / "report.html"
    if not file.exists():
        file.write_text(pages.report(folder).text, "utf-8")
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    size = {"width": 390 if phone else 1400, "height": 900, "deviceScaleFactor": 1, "mobile": phone}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    now = f"{file.as_uri()}{'#dark' if dark else ''}{'#phone' if phone else ''}"
    if browser.current_url == now:
        browser.execute_script("document.getElementById('viewer').close(); document.getElementById('lightbox').close()")
        return
    browser.get("about:blank")  # else another fragment is no other page
    browser.get(now)
    assert until(
        browser,
        "[...document.querySelectorAll('.plot')].every((plot) => plot.dataset.drawn || plot.closest('details'))",
    )


def find(browser: Any, selector: str) -> Any:
    element = browser.find_element("css selector", selector)
    browser.execute_script("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", element)
    return element


def texts(browser: Any, selector: str) -> list[str]:
    return browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map((each) => each.textContent.trim())", selector
    )


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


def test_bars_are_of_the_difference_to_no_freeu(folder: StudyFolder) -> None:
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


def test_points_open_their_images(browser: Any, folder: StudyFolder) -> None:
    from selenium.webdriver import ActionChains

    shown(browser, folder)
    assert len(browser.find_elements("css selector", "#front .plot")) == 4
    names = browser.execute_script("return document.querySelector('.plot').data.map((trace) => trace.name)")
    plot = find(browser, "#front .plot")
    trace = plot.find_elements("css selector", ".scatterlayer .trace")[names.index("published")]
    ActionChains(browser).move_to_element(trace.find_element("css selector", ".points path")).click().perform()
    assert until(browser, "document.getElementById('viewer').open")
    assert texts(browser, "#viewer-title") == ["Trial 1: published"]
    assert texts(browser, "#viewer figcaption") == ["baseline", "Trial 1: published"]
    # The same eight prompts on both sides, six in a row, with gaps of two.
    sizes = "[...document.querySelectorAll('#viewer canvas[data-drawn]')].map((each) => `${each.width}x${each.height}`)"
    assert until(browser, f"{sizes}.join() === '970x322,970x322'")
    rows = dict(zip(texts(browser, "#viewer dt"), texts(browser, "#viewer dd"), strict=True))
    assert rows["clip"] == "10.50" and rows["clip, difference"] == "+0.50 ± 0.1" and rows["scored by"] == "8 prompts"
    browser.find_element("id", "viewer-after").click()
    assert texts(browser, "#viewer-title") == ["Trial 2: gp"]
    browser.find_element("id", "viewer-close").click()
    assert not browser.execute_script("return document.getElementById('viewer').open")


def test_the_plots_begin_near_the_front(browser: Any, folder: StudyFolder) -> None:
    """The front is trials 0 to 2, of which the scores are 10, 10.5 and 11; with 30 % of room on both sides."""
    shown(browser, folder)
    seen = "return document.querySelector('#front .plot')._fullLayout.xaxis.range"
    assert browser.execute_script(seen) == pytest.approx([9.7, 11.3])
    find(browser, "#near").click()
    assert browser.execute_script(seen)[1] > 15  # trial 11 too
    find(browser, "#near").click()
    assert browser.execute_script(seen) == pytest.approx([9.7, 11.3])


def test_points_in_3d_open_too(browser: Any, folder: StudyFolder) -> None:
    shown(browser, folder)
    assert not browser.find_elements("css selector", ".wide canvas")
    find(browser, ".wide summary").click()
    assert until(browser, "document.querySelector('.wide canvas')")
    code = "document.querySelector('.wide .plot').emit('plotly_click', {points: [{customdata: 2}]})"
    browser.execute_script(code)
    assert texts(browser, "#viewer-title") == ["Trial 2: gp"]


def test_tables_sort_by_number(browser: Any, folder: StudyFolder) -> None:
    shown(browser, folder)
    values = lambda: [float(t.split()[0].replace("−", "-")) for t in texts(browser, "#trials td:nth-child(9)") if t]  # noqa: E731
    assert values() == sorted(values(), reverse=True)  # fid falls from 10 with the trials
    head = find(browser, "#trials th:nth-child(9) button")
    head.click()
    assert values() == sorted(values()) and len(values()) == 11
    assert texts(browser, "#trials td:nth-child(9)")[-1] == ""  # the failed trial has none
    head.click()
    assert values() == sorted(values(), reverse=True)
    assert texts(browser, "#trials td:nth-child(9)")[-1] == ""
    sorts = "return [...document.querySelectorAll('#trials th')].map((head) => head.getAttribute('aria-sort'))"
    assert browser.execute_script(sorts) == [None] * 8 + ["descending"] + [None] * 2


def test_prompts_stand_by_loss_or_gain(browser: Any, folder: StudyFolder) -> None:
    from selenium.webdriver.support.select import Select

    shown(browser, folder)
    prompts = [f"a picture of thing {i}" for i in range(8)]
    assert texts(browser, "#rows .prompt") == prompts  # trial 1's clip: the first lost most
    assert texts(browser, "#tally") == ["8 pairs. In clip 3 are worse with best-clip = knee (trial 1), 5 better."]
    order = Select(find(browser, "#order"))
    order.select_by_visible_text("clip: greatest gain first")
    assert texts(browser, "#rows .prompt") == prompts[::-1]
    first = texts(browser, "#rows li:first-child p")
    assert re.fullmatch(r"clip [\d.]+ → [\d.]+: \+0.45, better", first[2])
    assert re.fullmatch(r"aesthetic [\d.]+ → [\d.]+: −0.25, worse", first[3])
    pick = Select(find(browser, "#pick"))
    pick.select_by_value("2")
    base, other = (folder.read_held_out(name) for name in ("baseline", "0002"))
    assert base is not None and other is not None
    gains = (other["clip"] - base["clip"]).to_numpy()
    assert texts(browser, "#rows .prompt") == [prompts[i] for i in np.argsort(-gains)]
    pick.select_by_value("1")


def test_the_difference_is_the_difference(browser: Any, folder: StudyFolder) -> None:
    from selenium.webdriver.support.select import Select

    shown(browser, folder)

    def seen() -> np.ndarray:
        picture = find(browser, "#rows .difference").screenshot_as_png
        pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB"))
        return pixels[8:-8, 8:-8]  # without the round corners

    assert np.abs(seen().astype(int) - 4 * made.LIGHTER).max() <= 4  # one level of rounding, brightened
    pick = Select(find(browser, "#pick"))
    pick.select_by_value("2")  # whose images are the baseline's
    assert seen().max() == 0
    pick.select_by_value("1")


def test_by_keyboard(browser: Any, folder: StudyFolder) -> None:
    from selenium.webdriver.common.keys import Keys

    shown(browser, folder)
    button = find(browser, "#trials [data-trial='2']")
    browser.execute_script("arguments[0].focus()", button)
    button.send_keys(Keys.ENTER)
    assert until(browser, "document.getElementById('viewer').open")
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert texts(browser, "#viewer-title") == ["Trial 4: gp"]  # 3 failed
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not browser.execute_script("return document.getElementById('viewer').open")
    assert browser.switch_to.active_element == button
    browser.execute_script("document.querySelector('.skip').focus()")
    reached = set()
    for _ in range(60):  # every kind of control is on the way of the tab key
        browser.switch_to.active_element.send_keys(Keys.TAB)
        reached.add(browser.execute_script("return document.activeElement.closest('section, nav')?.id || 'nav'"))
    assert {"nav", "picks", "front", "prompts"} <= reached


def test_four_pairs_stand_first(browser: Any, folder: StudyFolder) -> None:
    """Of trial 1 the last prompt gains most and the first loses most; all lose alike in aesthetic."""
    shown(browser, folder)
    assert texts(browser, "#best strong") == ["Largest gain", "Largest loss", "Typical", "Typical"]
    prompts = texts(browser, "#best .prompt")
    assert prompts[:2] == ["a picture of thing 7", "a picture of thing 0"]
    assert set(prompts[2:]) == {"a picture of thing 3", "a picture of thing 4"}


def test_the_lightbox_by_keyboard(browser: Any, folder: StudyFolder) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    shown(browser, folder)
    opener = find(browser, "#best .pair")
    opener.send_keys(Keys.ENTER)
    assert until(browser, "document.getElementById('lightbox').open")
    assert texts(browser, "#lightbox-title") == ["a picture of thing 7"]
    stage = "document.getElementById('lightbox-stage')"

    def press(key: str) -> None:
        ActionChains(browser).send_keys(key).perform()

    def look() -> tuple[str, list[str]]:
        shown = "[...document.querySelectorAll('#lightbox figure')].map((each) => getComputedStyle(each).visibility)"
        return tuple(browser.execute_script(f"return [{stage}.dataset.look, {shown}]"))

    assert look() == ("side", ["visible", "visible"])
    press(" ")
    assert look() == ("flicker", ["visible", "hidden"])
    press(" ")
    assert look() == ("flicker", ["hidden", "visible"])
    press("2")
    assert look()[0] == "slider"
    press("d")
    assert look()[0] == "difference"
    press("z")
    assert "zoom" in browser.execute_script(f"return {stage}.className")
    press(Keys.ARROW_RIGHT)
    assert texts(browser, "#lightbox-title") == ["a picture of thing 0"]
    press(Keys.ARROW_LEFT)
    assert texts(browser, "#lightbox-title") == ["a picture of thing 7"]
    assert axe_faults(browser) == []
    press(Keys.ESCAPE)
    assert not browser.execute_script("return document.getElementById('lightbox').open")
    assert browser.switch_to.active_element == opener


def test_tables_can_be_taken_along(browser: Any, folder: StudyFolder) -> None:
    """What a press would save; a text that a spreadsheet would take for a formula is none."""
    shown(browser, folder)
    catch = """
    const made = URL.createObjectURL; window.saved = [];
    URL.createObjectURL = (blob) => { blob.text().then((text) => window.saved.push(text)); return made(blob); };
    HTMLAnchorElement.prototype.click = function () {};
    """
    browser.execute_script(catch)
    for table, kind in (("trials", "csv"), ("picks", "json"), ("held-out", "csv")):
        find(browser, f"[data-table='{table}'][data-as={kind}]").click()
    assert until(browser, "window.saved.length === 3")
    trials, picks, held_out = browser.execute_script("return window.saved")
    assert (
        trials.splitlines()[0]
        == "trial,from,state,b1,b2,s1,s2,prompts,clip,clip.error,aesthetic,aesthetic.error,fid,fid.error,guardrails"
    )
    assert len(trials.splitlines()) == 13 and len(held_out.splitlines()) == 9
    result = folder.read_result()
    assert result is not None
    assert json.loads(picks)[0]["difference"] == result["picks"][0]["scores"]["clip"]["difference"]
    browser.get("about:blank")


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


def test_an_unfinished_study_has_a_report_so_far(browser: Any, tmp_path: Path) -> None:
    folder = made.study(tmp_path, side=8)
    folder.result.unlink()
    file = tmp_path / "report.html"
    file.write_text(pages.report(folder).text, "utf-8")
    browser.get(file.as_uri())
    assert texts(browser, ".verdict")[0].startswith("So far: 11 of 12 trials are complete.")
    # All scores rise with the trials, and fid falls, so one trial is best in all.
    assert texts(browser, ".picks tbody th")[1].startswith("best-clip = best-aesthetic = best-fid = knee")
    assert len(browser.find_elements("css selector", "#trials tbody tr")) == 12
    assert axe_faults(browser) == []
    for record in folder.root.glob("trials/*.json"):
        record.unlink()
    with pytest.raises(UserError, match="has no complete trial yet"):
        pages.report(folder)


def test_every_image_has_words(browser: Any, folder: StudyFolder) -> None:
    shown(browser, folder)
    find(browser, "#trials [data-trial='1']").click()
    without = (
        "return [...document.images].filter((each) => !each.alt && each.src && !each.closest('[aria-label]')).length"
    )
    assert browser.execute_script(without) == 0
    assert browser.execute_script("return document.images.length") == 3 * 8 + 2 * 4 + 2


@pytest.mark.parametrize(("dark", "phone"), [(False, False), (True, False), (False, True)])
def test_axe_finds_no_serious_fault(browser: Any, folder: StudyFolder, dark: bool, phone: bool) -> None:
    shown(browser, folder, dark=dark, phone=phone)
    assert axe_faults(browser) == []
    find(browser, "#trials [data-trial='1']").click()
    assert axe_faults(browser) == []
    paper = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (paper == "rgb(255, 255, 255)") is not dark
    if phone:  # nothing sticks out
        assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_hostile_texts_are_texts(browser: Any, hostile: StudyFolder) -> None:
    shown(browser, hostile, phone=True)
    find(browser, "#trials [data-trial='2']").click()
    assert browser.execute_script("return typeof window.pwned") == "undefined"
    assert (
        browser.execute_script("return document.querySelectorAll('img[src]:not([src^=\"data:image/\"])').length") == 0
    )
    prompts = texts(browser, "#rows .prompt bdi:last-child")
    assert HOSTILE[0] in prompts and HOSTILE[1] in prompts and HOSTILE[3] in prompts
    assert r"bell \x07 escape \x1b[31m null \x00 line\nbreak \u202eturned round\u202c" in prompts
    assert max(map(len, prompts)) == 10_005
    assert texts(browser, "h1") == ["FreeU on " + HOSTILE[1]]
    assert texts(browser, ".verdict") == [HOSTILE[1] + r"half a pair: \ud83d"]
    assert browser.execute_script("return document.documentElement.scrollWidth") == 390


def test_mlflow_s_front_page_is_drawn_and_has_no_serious_fault(
    browser: Any, folder: StudyFolder, tmp_path: Path
) -> None:
    """Also where the trials' scores span far more than what is expected of them: contours hung on that."""
    file = tmp_path / "front.html"
    result = folder.read_result()
    assert result is not None
    file.write_text(study_page("sunday", folder.read_trials(), result), "utf-8")
    browser.get(file.as_uri())
    # Four of the front; hypervolume twice, importances, timeline, parallel coordinates, a slice of each objective.
    assert until(browser, "document.querySelectorAll('.js-plotly-plot').length === 12")
    assert texts(browser, "h2")[-3:] == ["Slices of clip", "Slices of aesthetic", "Slices of fid"]
    assert axe_faults(browser) == []


def test_no_request_and_no_error_in_all_of_this(browser: Any, folder: StudyFolder) -> None:
    """Of all pages that the tests before opened."""
    asked = requested(browser)
    assert any(url.startswith("file://") and url.endswith("report.html") for url in asked)
    assert {url for url in asked if not url.startswith(("file:", "data:", "blob:", "about:", "chrome"))} == set()
    assert [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"] == []


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


def gain(a: StudyFolder, b: StudyFolder, row: int) -> float:
    """What trial 1 of the second study has over the first's, by the mean over objectives, each in its deviations."""
    tables = [study.read_held_out("0001") for study in (a, b)]
    assert tables[0] is not None and tables[1] is not None
    differences = [(tables[1][name] - tables[0][name]).iloc[:8] for name in ("clip", "aesthetic")]
    return float(np.mean([each[row] / each.std(ddof=0) for each in differences]))


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


def test_two_studies_on_one_page(browser: Any, tmp_path: Path) -> None:
    sizes = {"one": 8, "two": 10}
    first, second = (made.study(tmp_path, x, prompts=n, side=8, model=HOSTILE[0]) for x, n in sizes.items())
    mlruns = ["--mlruns", str(tmp_path)]
    done = CliRunner().invoke(app, ["--compare", "one", "two", *mlruns])
    assert done.exit_code == 0, done.exception
    browser.get((first.root / "report-two.html").as_uri())
    assert texts(browser, "h1") == ["one and two"]
    assert len(texts(browser, ".verdict")) == 2 and len(texts(browser, "tbody tr")) >= 6
    assert texts(browser, "#pick option") == ["baseline = best-aesthetic", "best-clip = knee", "best-fid"]
    assert texts(browser, "#best .pair")[0] == "A: best-clip = knee (trial 1)B: best-clip = knee (trial 1)"
    find(browser, "#best .pair").click()
    assert until(browser, "document.getElementById('lightbox').open")
    seen = "return [...document.querySelectorAll('#lightbox img')].map((each) => each.src)"
    row = max(range(8), key=lambda i: gain(first, second, i))
    kept = [study.held_out_image("0001", row).read_bytes() for study in (first, second)]
    assert browser.execute_script(seen) == [f"data:image/webp;base64,{base64.b64encode(x).decode()}" for x in kept]
    assert browser.execute_script("return typeof window.pwned") == "undefined"
    assert axe_faults(browser) == []
    done = CliRunner().invoke(app, ["--compare", "one", "two", "--json", *mlruns])
    told = json.loads(done.stdout)
    assert told["study"] == "one" and told["file"].endswith("report-two.html") and told["folder"] is None
    for arguments in ([], ["--study", "one", "--compare", "one", "two"]):
        done = CliRunner().invoke(app, [*arguments, *mlruns])
        assert any(said in str(done.exception) for said in ("name one of one, two", "or --compare A B"))
    assert second.root.exists()
