from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from configs import UserError
from freeu import IDENTITY, Candidate, Factors, Sampling
from search.evaluation import Evaluator, Evaluators
from search.evaluation.score_cache import Cache
from search.optimizer.pareto_front import Front, Pick
from search.storage import StudyFolder, TrialRecord, Value
from search.study.confirmation import Confirmed, confirm, finalists
from search.study.held_out import HeldOut, rows_of
from search.study.in_hand import InHand
from search.study.looks import Looks
from search.study.verdict import Rivals, fewest, moved_too_far, verdict
from search.workers import SingleWorker, WorkerDied
from search.workers.crew import TRIES
from tests.search.fakes import BEST, FakeGenerator, FakeMetric

GOOD, BAD, OTHER = Factors(*BEST), Factors(1.8, 0.8, 0.0, 1.2), Factors(1.1, 1.1, 0.9, 0.9)
DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}
PICKS = (Pick("best-clip", 3), Pick("best-aesthetic", 0), Pick("best-fid", 3), Pick("knee", 5))


TEXTS = [f"p{i}" for i in range(16)]


def crew(generator: FakeGenerator, cache: Cache | None = None) -> SingleWorker:
    metrics = [FakeMetric("clip", 0), FakeMetric("aesthetic", 1), FakeMetric("fid", 0, per_image=False)]
    evaluator = Evaluator(generator, {m.name: m for m in metrics}, TEXTS, range(16), cache)
    return SingleWorker(Evaluators({"confirm": evaluator}))


def held_out(folder: Path, crew: Any, n: int = 16, confirmation: int = 1, **more: Any) -> HeldOut:
    return HeldOut(StudyFolder(folder, "s"), crew, rows_of(TEXTS[:16], n, 0, confirmation), **more)


def run(folder: Path, generator: FakeGenerator, picked: dict[int, Factors], ends: tuple[int, ...] = (16,), **more: Any):
    told: list[tuple[str, int, int]] = []
    plan = Looks(more.pop("confirmation", 1), ends)
    drawn = held_out(folder, crew(generator), ends[-1], plan.number, began=lambda *what: told.append(what), **more)
    return confirm(drawn, tried(picked), tuple(DIRECTIONS), plan, 0), told


def tried(picked: dict[int, Factors]) -> dict[int, Candidate]:
    return {number: Candidate(factors) for number, factors in picked.items()}


def trial(number: int, factors: Factors, clip: float, error: float) -> TrialRecord:
    values = {"clip": Value(clip, 1.0, 48, "up", error), "fid": Value(10.0, 1.0, 48, "down", 1.0)}
    return TrialRecord(number, factors, "gp", "COMPLETE", values, {}, 48)


def test_finalists_are_those_most_likely_to_be_shown_better() -> None:
    block = replace(IDENTITY, stages="block")
    records = [trial(0, block, 1.0, 0.0), trial(3, GOOD, 1.5, 0.1), trial(5, BAD, 2.0, 1.0), trial(7, OTHER, 1.5, 0.1)]
    fid = {0: 10.0, 3: 10.0, 5: 10.0, 7: 19.0}  # 7 is worse there by nine standard errors
    front = Front({"clip": {r.number: r.values["clip"].value for r in records}, "fid": fid}, (0, 3, 5, 7), ())
    picks = (Pick("best-fid", 0), Pick("best-clip", 5), Pick("knee", 7), Pick("most-improved", 3), Pick("x", 3))
    ways = {"clip": "up", "fid": "down"}
    assert list(finalists(picks, records, front, ways, 2, 48)) == [3, 5]
    assert list(finalists(picks, records, front, ways, 9, 48)) == [3, 5, 7]
    assert finalists(picks[:1], records, front, ways, 2, 48) == {}


def test_pairs_share_prompts_and_noise_and_the_known_effect_is_found(tmp_path: Path) -> None:
    generator = FakeGenerator()
    found, told = run(tmp_path, generator, {3: GOOD, 5: BAD})
    assert told == [("baseline", 16, 32), ("trial 3", 16, 16), ("trial 5", 16, 0)]
    assert len({call[1:] for call in generator.calls}) == 1
    row = found.rows[3]["clip"]
    # 100 grey levels of 255, times how much nearer GOOD is to itself than the baseline is; wobble adds up to 10 levels
    effect = 100 * (1 - np.exp(-2 * ((np.array(BEST) - 1) ** 2).sum())) / 255
    assert row["difference"] == pytest.approx(effect, abs=0.01)
    assert row["difference"] == pytest.approx(row["value"] - row["base"])
    assert row["low"] < effect + 0.01
    assert row["low"] > 0
    assert row["win_rate"] == 1.0
    assert (row["n"], row["prompts"]) == (16, 16)
    assert found.rows[3]["fid"]["difference"] == pytest.approx(-row["difference"])
    assert found.rows[3]["fid"]["win_rate"] is None
    rows = [row for scores in found.rows.values() for row in scores.values()]
    most = 6 / 0.8 * 1.01  # six comparisons and four fifths of the error; the p of looks is interpolated
    assert all(row["p"] <= row["p_holm"] <= min(1.0, most * row["p"]) for row in rows)
    assert min(row["p_holm"] for row in rows) == pytest.approx(6 / 0.8 * min(row["p"] for row in rows), rel=0.02)


def test_a_killed_confirmation_goes_on_where_it_was(tmp_path: Path) -> None:
    whole, _ = run(tmp_path / "a", FakeGenerator(), {3: GOOD, 5: BAD})
    run(tmp_path / "b", FakeGenerator(), {3: GOOD})
    generator = FakeGenerator()
    found, told = run(tmp_path / "b", generator, {3: GOOD, 5: BAD})
    assert [what for what, *_ in told] == ["trial 5"]
    assert len(generator.calls) == 1
    assert found == whole
    StudyFolder(tmp_path / "b", "s").confirm_part("0003-00000").write_bytes(b"torn")
    with pytest.raises(UserError, match=r"0003-00000\.npz can't be read"):
        run(tmp_path / "b", generator, {3: GOOD})


def test_what_was_kept_of_other_factors_is_made_again(tmp_path: Path) -> None:
    """A number is another candidate's where a study lost its database."""
    run(tmp_path, FakeGenerator(), {3: GOOD})
    generator = FakeGenerator()
    found, _ = run(tmp_path, generator, {3: BAD})
    assert [factors for factors, *_ in generator.calls] == [BAD]
    assert found == run(tmp_path / "afresh", FakeGenerator(), {3: BAD})[0]


def test_looks_go_on_until_each_row_is_decided(tmp_path: Path) -> None:
    """A clear gain and a clear loss end it at the first look; of a candidate that does next to nothing more is drawn.
    Later rows are the same prompts with other seeds, and no image is drawn twice.
    """
    ends = (16, 32, 48, 64)
    clear, _ = run(tmp_path, FakeGenerator(), {3: GOOD}, ends)
    assert [look["images"] for look in clear.looks] == [16]
    assert all(p < 0.05 for p in clear.looks[-1]["p_holm"]["3"].values())
    faint = FakeGenerator(help=7.0)
    found, told = run(tmp_path / "faint", faint, {3: GOOD}, ends)
    assert [look["images"] for look in found.looks] == list(ends[: len(found.looks)]) and len(found.looks) > 1
    assert {(row["n"], row["prompts"]) for row in found.rows[3].values()} == {(found.looks[-1]["images"], 16)}
    assert told[2:4] == [("baseline", 16, 16), ("trial 3", 16, 0)]
    (_, texts, seeds), (_, again, others) = faint.calls[0], faint.calls[2]
    assert texts == again and not set(seeds) & set(others)
    drawn = [(factors, *pair) for factors, prompts, seeds in faint.calls for pair in zip(prompts, seeds, strict=True)]
    assert len(set(drawn)) == len(drawn)


def test_a_later_confirmation_has_its_own_seeds_and_less_error(tmp_path: Path) -> None:
    generator = FakeGenerator()
    first, _ = run(tmp_path, generator, {3: GOOD})
    later, _ = run(tmp_path, generator, {3: GOOD}, confirmation=3)
    assert not set(generator.calls[0][2]) & set(generator.calls[2][2])
    one, two = (found.rows[3]["clip"] for found in (first, later))
    assert two["p_holm"] / two["p"] == pytest.approx(16 * one["p_holm"] / one["p"], rel=0.02)  # 0.04 against 0.0025
    table = StudyFolder(tmp_path, "s").read_held_out("0003")
    assert table is not None and tuple(table["seed"]) == generator.calls[2][2]


def test_workers_share_a_look_by_prompts(tmp_path: Path) -> None:
    generator = FakeGenerator()
    found, told = run(tmp_path, generator, {3: GOOD}, workers=4)
    assert [images for _, images, _ in told] == [8, 8, 8, 8]
    assert found == run(tmp_path / "alone", FakeGenerator(), {3: GOOD})[0]


class Deadly(SingleWorker):
    """Its worker dies under some candidates."""

    def __init__(self, alone: SingleWorker, under: Factors) -> None:
        super().__init__(alone._held)
        self.under, self.deaths = under, 0

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        assert self._job is not None
        key, job = self._job
        if getattr(job, "candidate", None) != Candidate(self.under):
            return super().wait(seconds)
        self._job, self.deaths = None, self.deaths + 1
        return [(key, WorkerDied("its worker ended before it did"))]


def test_a_pick_that_kills_its_workers_costs_itself_alone(tmp_path: Path) -> None:
    lost: list[tuple[int, str]] = []
    deadly = Deadly(crew(FakeGenerator()), BAD)
    drawn = held_out(tmp_path, deadly, failed=lambda *what: lost.append(what))
    assert set(confirm(drawn, tried({5: BAD, 3: GOOD}), tuple(DIRECTIONS), Looks(1, (16,)), 0).rows) == {3}
    assert deadly.deaths == TRIES and lost == [(5, "its worker ended before it did")]
    drawn = held_out(tmp_path / "t", Deadly(crew(FakeGenerator()), IDENTITY))
    with pytest.raises(UserError, match="the baseline could not be scored on the held-out prompts: its worker"):
        confirm(drawn, tried({3: GOOD}), tuple(DIRECTIONS), Looks(1, (16,)), 0)


class Killed(BaseException):
    """As SIGKILL: nothing that comes after it in this process is done."""


def killed(crew: SingleWorker, factors: Factors, kind: type[BaseException] = Killed) -> SingleWorker:
    """A crew whose process ends where it is to draw these factors."""
    submit = crew.submit

    def ending(key: int, job: Any) -> None:
        if getattr(job, "candidate", None) == Candidate(factors):
            raise kind
        submit(key, job)

    crew.submit = ending  # type: ignore[method-assign]
    return crew


def test_a_finalist_that_ends_process_after_process_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first three processes die of it; the fourth goes on without it, as if it had raised. Ctrl-C is no death, and
    what ended the baseline's process is told, then tried again.
    """
    lost: list[tuple[int, str]] = []

    def once(factors: Factors, kind: type[BaseException] = Killed, place: str = "") -> Confirmed:
        alone = killed(crew(FakeGenerator()), factors, kind)
        drawn = held_out(tmp_path / place, alone, failed=lambda *what: lost.append(what))
        with monkeypatch.context() as patch:
            if kind is Killed:
                patch.setattr(InHand, "until_the_end", contextmanager(lambda hands: (yield hands)))
            return confirm(drawn, tried({5: BAD, 3: GOOD}), tuple(DIRECTIONS), Looks(1, (16,)), 0)

    for _ in range(TRIES + 1):
        with pytest.raises(KeyboardInterrupt):
            once(BAD, KeyboardInterrupt)
    for _ in range(TRIES):
        with pytest.raises(Killed):
            once(BAD)
    assert lost == []
    assert set(once(BAD, KeyboardInterrupt).rows) == {3}
    assert [number for number, _ in lost] == [5] and "its process ended before it did, 3 times" in lost[0][1]
    for _ in range(2):
        for _ in range(TRIES):
            with pytest.raises(Killed):
                once(IDENTITY, place="baseline")
        with pytest.raises(UserError, match=r"the baseline could not be scored .* its process ended before it did"):
            once(IDENTITY, KeyboardInterrupt, "baseline")


@pytest.mark.parametrize("kind", [Killed, KeyboardInterrupt])
@pytest.mark.parametrize("late", [False, True])
def test_an_end_between_scores_and_images_loses_no_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: type[BaseException], late: bool
) -> None:
    """The scores are cached by then: of what is known no image is drawn. late: the images were just written. The range
    that was drawn meanwhile is drawn again, too.
    """
    folder, alone = StudyFolder(tmp_path, "s"), crew(generator := FakeGenerator(), Cache(tmp_path / "cache", {}))
    write = StudyFolder.write_held_out_images

    def ended(*given: Any) -> None:
        if late:
            write(*given)
        raise kind

    def once() -> Confirmed:
        return confirm(held_out(tmp_path, alone), tried({3: GOOD}), tuple(DIRECTIONS), Looks(1, (16,)), 0)

    with monkeypatch.context() as patch, pytest.raises(kind):
        patch.setattr(StudyFolder, "write_held_out_images", ended)
        if kind is Killed:
            patch.setattr(InHand, "until_the_end", contextmanager(lambda hands: (yield hands)))
        once()
    found = once()
    assert all(folder.held_out_image(name, row).exists() for name in ("baseline", "0003") for row in range(16))
    assert not list(folder.root.rglob("*.begun"))
    drawn = len(generator.calls)
    assert once() == found and len(generator.calls) == drawn == 4


def test_nothing_to_confirm(tmp_path: Path) -> None:
    assert run(tmp_path, FakeGenerator(), {}) == (Confirmed(), [])
    assert verdict(PICKS[1:2], {}, DIRECTIONS).text.startswith("FreeU is not shown to help here: no candidate")


def row(difference: float, p: float) -> dict[str, float]:
    return {
        "difference": difference,
        "low": difference - 1,
        "high": difference + 1,
        "p_holm": p,
        "n": 48,
        "prompts": 48,
    }


@pytest.mark.parametrize(
    ("clip", "fid", "said", "taken"),
    [
        (row(2, 0.01), row(-5, 0.2), "FreeU helps here: best-clip = best-fid (trial 3) is better on 48 held-out", 3),
        (row(2, 0.2), row(-5, 0.01), "in fid by -5 [-6, -4], and measurably worse in nothing.", 3),
        (row(0.5, 0.2), row(-5, 0.01), "measurably worse in nothing. Not ruled out: -0.5 in clip.", 3),
        (row(2, 0.01), row(5, 0.01), "FreeU trades here: best-clip = best-fid (trial 3) is better", 3),
        (row(2, 0.2), row(-5, 0.2), "FreeU is not shown to help here: the finalist is not measurably better", None),
        (row(-2, 0.01), row(-5, 0.2), "Best-clip = best-fid (trial 3) is worse in clip by -2 [-3, -1].", None),
    ],
)
def test_the_verdict_in_words(clip: dict, fid: dict, said: str, taken: int | None) -> None:
    found = verdict(PICKS, {3: {"clip": clip, "fid": fid}}, DIRECTIONS)
    assert said in found.text and found.number == taken


class Guided(FakeGenerator):
    """Under another guidance scale the baseline's images are those of GOOD."""

    def with_sampling(self, sampling: Sampling) -> FakeGenerator:
        return self if sampling == Sampling() else As(GOOD)


class As(FakeGenerator):
    """Draws what other factors give."""

    def __init__(self, factors: Factors) -> None:
        super().__init__()
        self.factors = factors

    def generate(self, prompts, seeds, factors, on_step=None):
        return super().generate(prompts, seeds, self.factors, on_step)


def test_what_guidance_does_as_well_is_no_gain_over_it(tmp_path: Path) -> None:
    """The finalist is far better than the baseline, and its rival draws the very same images."""
    drawn = held_out(tmp_path, crew(Guided()))
    rivals = {3: (9, Candidate(IDENTITY, Sampling(guidance=4.0)))}
    found = confirm(drawn, tried({3: GOOD}), tuple(DIRECTIONS), Looks(1, (16,)), 0, rivals)
    assert found.rows[3]["clip"]["p_holm"] < 0.01 and found.against[3]["clip"]["difference"] == 0


def test_a_rival_is_drawn_once_its_finalist_differs_from_the_baseline(tmp_path: Path) -> None:
    """Of two finalists one does nothing: its rival is never drawn, and yet counts in Holm's correction."""
    generator = FakeGenerator()
    rival, other = (Candidate(IDENTITY, Sampling(guidance=scale)) for scale in (4.0, 5.0))
    told: list[str] = []
    drawn = held_out(tmp_path, crew(generator), 32, began=lambda what, *_: told.append(what))
    rivals = {3: (9, rival), 5: (11, other)}
    found = confirm(drawn, tried({3: GOOD, 5: IDENTITY}), tuple(DIRECTIONS), Looks(1, (16, 32)), 0, rivals)
    assert told[:4] == ["baseline", "trial 3", "trial 5", "trial 9"] and "trial 11" not in told
    assert set(found.against) == {3} and set(found.rows) == {3, 5}
    whole = confirm(
        drawn, tried({3: GOOD, 5: IDENTITY}), tuple(DIRECTIONS), Looks(1, (16, 32)), 0, rivals, at_once=True
    )
    assert set(whole.against) == {3, 5} and "trial 11" in told
    row = found.rows[3]["clip"]
    assert row["p_holm"] >= 0.99 * 12 / 0.8 * row["p"]  # two finalists, two comparators, three objectives


@pytest.mark.parametrize(
    ("clip", "fid", "said", "taken"),
    [
        (row(0.21, 0.001), row(0.1, 0.9), "FreeU adds +0.21 in clip over the best guidance alone (guidance 4). ", 3),
        (row(0.1, 0.9), row(0.1, 0.9), "FreeU helps at guidance 7, but guidance 4 without it does as well", 3),
        (row(-1, 0.001), row(0.1, 0.9), "but guidance 4 without it does better: against that it is -1 in clip.", None),
        (row(1, 0.001), row(5, 0.001), "(guidance 4) it trades +1 in clip for +5 in fid.", 3),
    ],
)
def test_the_first_sentence_is_about_the_rival(clip: dict, fid: dict, said: str, taken: int | None) -> None:
    rivals = Rivals({3: {"clip": clip, "fid": fid}}, {3: "guidance 4"}, "guidance 7")
    found = verdict(PICKS, {3: {"clip": row(2, 0.001), "fid": row(0.1, 0.9)}}, DIRECTIONS, rivals=rivals)
    first, _, then = found.text.partition(" Against the baseline ")
    assert said in f"{first} " and found.number == taken
    assert then.startswith("best-clip = best-fid (trial 3) is better on ")


def test_a_trade_is_set_beside_the_best_guidance_too() -> None:
    scores = {3: {"clip": row(2, 0.001), "fid": row(5, 0.001)}}
    for against, said in (
        ({"clip": row(1, 0.001), "fid": row(4, 0.001)}, "it is better by +1 in clip and worse by +4 in fid."),
        ({"clip": row(0.1, 0.9), "fid": row(0.1, 0.9)}, "(guidance 4) is as good, as far as could be seen."),
    ):
        rivals = Rivals({3: against}, {3: "guidance 4"}, "guidance 7")
        assert said in verdict(PICKS, scores, DIRECTIONS, rivals=rivals).text


def test_who_beats_the_best_guidance_comes_before_who_beats_the_baseline_by_more() -> None:
    scores = {3: {"clip": row(9, 0.001), "fid": row(-9, 0.001)}, 5: {"clip": row(1, 0.001), "fid": row(0.1, 0.9)}}
    against = {3: {"clip": row(0.1, 0.9)}, 5: {"clip": row(0.5, 0.001)}}
    rivals = Rivals(against, {3: "guidance 4", 5: "guidance 4"}, "guidance 7")
    assert verdict(PICKS, scores, DIRECTIONS, rivals=rivals).number == 5


def test_the_resolution_is_each_finalists_own() -> None:
    rows = {3: {"clip": row(0.1, 0.9) | {"detectable": 0.2}}, 5: {"clip": row(0.1, 0.9) | {"detectable": 0.71}}}
    said = verdict(PICKS, rows, DIRECTIONS).text
    assert said.endswith("would show a true difference of: trial 3: 0.2 in clip; trial 5: 0.71 in clip.")


def test_too_few_prompts_say_nothing() -> None:
    assert [fewest(rows) for rows in (1, 6, 12)] == [6, 9, 10]  # of an error of 0.04: 2 / 2^n
    assert fewest(6, 0.005) == 12
    few = {3: {name: row(2, 0.001) | {"prompts": 6} for name in DIRECTIONS}}
    assert "6 held-out prompts are too few for 3 comparisons, of which none can count below 8" in (
        verdict(PICKS, few, DIRECTIONS).text
    )


def test_guardrails_that_leave_nobody_are_named() -> None:
    assert "the guardrails ruled out all 63 candidates" in verdict(PICKS[1:2], {}, DIRECTIONS, 0, 63).text
    assert "ruled out the only candidate that was tried" in verdict(PICKS[1:2], {}, DIRECTIONS, 0, 1).text


def test_images_are_written_while_the_next_ones_are_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And a disk that is full ends it all the same."""
    generator, begun = FakeGenerator(), threading.Event()

    def generate(*args: Any) -> Any:
        if generator.calls:
            begun.set()
        return FakeGenerator.generate(generator, *args)

    generator.generate = generate  # type: ignore[method-assign]
    drawn = held_out(tmp_path, crew(generator))
    write, waited = StudyFolder.write_held_out_images, list[bool]()

    def written(*args: Any) -> None:
        waited.append(begun.wait(60))  # without end where images are drawn after it
        write(*args)

    monkeypatch.setattr(StudyFolder, "write_held_out_images", written)
    wanted = {-1: Candidate(IDENTITY), 3: Candidate(Factors(*BEST))}
    assert len(drawn.samples(wanted, 16)[3]) == 16 and waited == [True, True]
    assert all(drawn.folder.held_out_image("0003", row).exists() for row in range(16))
    assert held_out(tmp_path, crew(generator)).samples(wanted, 16).keys() == wanted.keys()
    assert len(generator.calls) == 2  # all was kept

    def full(*args: Any) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(StudyFolder, "write_held_out_images", full)
    with pytest.raises(OSError, match="no space"):
        held_out(tmp_path / "full", crew(generator)).samples(wanted, 16)


def test_who_breaks_a_guardrail_on_the_held_out_images_is_named() -> None:
    moved = {3: {"saturation": 0.9, "luma": -1.0}, 5: {"saturation": 1.2, "sharpness": -1.31}}
    assert moved_too_far(moved) == " Out of bounds on the held-out images: trial 5 (sharpness -1.3, saturation +1.2)."
    assert moved_too_far({3: moved[3]}) == moved_too_far({}) == ""


def test_what_the_picks_drew_is_kept(tmp_path: Path) -> None:
    generator, folder = FakeGenerator(), StudyFolder(tmp_path, "s")
    kinds = {f"p{i}": f"kind {i % 3}" for i in range(15)}  # the last has none
    run(tmp_path, generator, {3: GOOD}, categories=kinds)
    factors, prompts, seeds = generator.calls[1]
    drawn = FakeGenerator().generate(prompts, seeds, factors)
    table = folder.read_held_out("0003")
    assert table is not None
    assert list(table.columns) == ["prompt", "seed", "clip", "aesthetic", "category"]
    assert (list(table["prompt"]), list(table["seed"])) == (list(prompts), list(seeds))
    assert list(table["category"]) == [f"kind {i % 3}" for i in range(15)] + [""]
    for row in range(16):
        with Image.open(folder.held_out_image("0003", row)) as image:
            assert (np.asarray(image).transpose(2, 0, 1) == drawn[row].numpy()).all()  # no pixel is lost
        assert table["clip"][row] == pytest.approx(drawn[row, 0].float().mean().item() / 255)
    base = folder.read_held_out("baseline")
    assert base is not None and folder.held_out_image("baseline", 15).exists()


def test_a_pick_that_cant_be_scored_costs_itself_alone(tmp_path: Path) -> None:
    class Breaks(FakeGenerator):
        def generate(self, prompts, seeds, factors, on_step=None):
            if factors == self.broken:
                raise RuntimeError("the image is\nblack")
            return super().generate(prompts, seeds, factors, on_step)

    generator, lost = Breaks(), []
    generator.broken = BAD
    picked, told = {5: BAD, 3: GOOD}, {"failed": lambda *what: lost.append(what)}
    assert set(run(tmp_path, generator, picked, **told)[0].rows) == {3}
    assert lost == [(5, "the image is black")]
    generator.broken = GOOD
    assert set(run(tmp_path, generator, picked, **told)[0].rows) == {3, 5}  # 3 was kept, 5 is tried again
    generator.broken = IDENTITY
    with pytest.raises(UserError, match="the baseline could not be scored on the held-out prompts: the image"):
        run(tmp_path / "t", generator, picked, **told)
    assert verdict(PICKS, {}, DIRECTIONS, picked=2).text.startswith("Nothing can be said of FreeU here")


def test_a_loss_within_its_margin_is_none() -> None:
    rows = {3: {"clip": row(2, 0.01), "aesthetic": row(-1.5, 0.01), "fid": row(0.5, 0.4)}}

    def said(**margins: float) -> str:
        return verdict(PICKS, rows, DIRECTIONS, margins=margins).text

    assert "FreeU trades here" in said() and "worse in aesthetic" in said() and "Not ruled out: +1.5 in fid." in said()
    assert "FreeU trades here" in said(aesthetic=2.4)  # -2.5 is not ruled out
    helps = said(aesthetic=2.6, fid=1.6)
    assert "FreeU helps here" in helps and "Ruled out: a loss of more than 2.6 in aesthetic, 1.6 in fid." in helps
