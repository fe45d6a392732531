"""`python -m search.report` as a person reads it: in a browser with a mouse, by keyboard, on a phone, in the dark."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from configs import UserError
from search.report import app
from search.reporting import pages
from search.reporting.mlflow_page import study_page
from search.storage import StudyFolder
from tests.browser import axe_faults, chromium, requested, until
from tests.search import made

HOSTILE = (
    "<script>window.pwned = 1</script><img src=x onerror='window.pwned = 2'>",
    "\"'><svg onload=window.pwned=3> {{ 7 * 7 }} </script><script>window.pwned=4</script> <!--",
    "bell \x07 escape \x1b[31m null \x00 line\nbreak \u202eturned round\u202c",
    "صورة قطة صغيرة على سجادة حمراء",
    "long " + "x" * 10_000,
    "javascript:window.pwned=5",
)


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


def gain(a: StudyFolder, b: StudyFolder, row: int) -> float:
    """What trial 1 of the second study has over the first's, by the mean over objectives, each in its deviations."""
    tables = [study.read_held_out("0001") for study in (a, b)]
    assert tables[0] is not None and tables[1] is not None
    differences = [(tables[1][name] - tables[0][name]).iloc[:8] for name in ("clip", "aesthetic")]
    return float(np.mean([each[row] / each.std(ddof=0) for each in differences]))


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
