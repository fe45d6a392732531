"""A study that was killed, wherever the kill fell, is the study of its seed: the same records, by number."""

from __future__ import annotations

import itertools
import os
import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from configs import UserError
from freeu import IDENTITY, Candidate, Factors
from search.evaluation import Evaluation, Evaluators
from search.optimizer.space import Space
from search.optimizer.space_file import default, load
from search.storage import TrialRecord
from search.study.coordinator import Coordinator
from search.study.queue import FATAL
from search.workers import SingleWorker, WorkerDied
from tests.search.study.test_coordinator import PUBLISHED, Killed, Silent, good
from tests.search.study.test_state_machine import Folder, Fuse, Kept, Stored

TRIALS = 13


class Home:
    """Where a study is kept. Counts its changes, and kills before one of them."""

    def __init__(self, folder: Path) -> None:
        self.fuse = Fuse()
        self.kept, self.folder = Kept(self.fuse), Folder(folder, "s")
        self.folder.fuse = self.fuse

    def run(self, sampler: str = "random", kill: int | None = None, **more: Any) -> list[TrialRecord]:
        """Start it, and resume it. kill: after so many changes."""
        settings = {"space": default(), "evaluate": evaluated, "prompts": 4, "watcher": Silent()} | more
        evaluate = settings.pop("evaluate")
        with self.fuse.lit(kill):
            study = Coordinator(
                Stored(self.folder, self.kept),
                {"clip": "up", "fid": "down"},
                sampler=sampler,
                seed=0,
                fixed=[("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))],
                **settings,
            )
            parts = Evaluators(
                {"search": lambda task, on_images: replace(evaluate(task.candidate.factors), n=task.end)}
            )
            study.run(SingleWorker(parts), TRIALS)
        return [replace(record, seconds={}) for record in study.records()]


def evaluated(factors: Factors) -> Evaluation:
    """One candidate fails for a reason of its own, and would again."""
    if factors == PUBLISHED:
        raise ValueError("no such layer")
    return good(factors)


def conditional(folder: Path) -> Space:
    """Two versions, and a dimension that one of them alone has: drawn on its own."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "space.yaml").write_text("version: [v1, v2]\nsmooth: {low: 0.1, high: 0.9, when: {version: v2}}\n")
    return load(folder / "space.yaml", "v2", "width")


@pytest.mark.parametrize("sampler", ["random", "gp", "qmc", "nsga2", "tpe", "grid"])
@pytest.mark.parametrize("conditions", [False, True])
def test_wherever_the_kills_fell(tmp_path: Path, sampler: str, conditions: bool) -> None:
    more = {"space": conditional(tmp_path)} if conditions else {}
    whole = Home(tmp_path / "whole").run(sampler, **more)
    assert len(whole) == TRIALS + 1
    chance = random.Random(sampler)
    for number in range(4):
        home, kills = Home(tmp_path / str(number)), 0
        while kills < 5:
            try:
                home.run(sampler, chance.randrange(60), **more)
                break
            except Killed:
                kills += 1
        assert home.run(sampler, **more) == whole


def test_each_change(tmp_path: Path) -> None:
    """Every kill point of a study, one after another, until a run ends before its kill."""
    whole = Home(tmp_path / "whole").run()
    for at in itertools.count():
        home = Home(tmp_path / str(at))
        try:
            home.run(kill=at)
            break
        except Killed:
            assert home.run() == whole
    assert at > 100


def test_each_change_of_a_race(tmp_path: Path) -> None:
    """Who goes on to more prompts depends on those before."""
    race = {"prompts": 32, "race": True}
    whole = Home(tmp_path / "whole").run(**race)
    assert len({record.images for record in whole}) > 2
    for at in range(40, 200, 7):
        home = Home(tmp_path / str(at))
        try:
            home.run(kill=at, **race)
        except Killed:
            assert home.run(**race) == whole


def test_ctrl_c_leaves_no_trace(tmp_path: Path) -> None:
    whole = Home(tmp_path / "whole").run()
    for at in (0, 1, 4, 9):
        seen: list[Factors] = []

        def interrupted(factors: Factors, at: int = at, seen: list[Factors] = seen) -> Evaluation:
            if len(seen) == at:
                raise KeyboardInterrupt
            seen.append(factors)
            return evaluated(factors)

        home = Home(tmp_path / str(at))
        with pytest.raises(KeyboardInterrupt):
            home.run(evaluate=interrupted)
        assert home.run() == whole


def test_a_baseline_that_failed_moves_no_candidate(tmp_path: Path) -> None:
    def broken(factors: Factors) -> Evaluation:
        raise ValueError("out of memory")

    whole, home = Home(tmp_path / "whole").run(), Home(tmp_path / "failed")
    for _ in range(2):
        with pytest.raises(UserError, match="the baseline"):
            home.run(evaluate=broken)
    found = home.run()
    assert [record.reason for record in found if record.factors.identity] == ["ValueError: out of memory"] * 2 + [None]
    complete = [{record.factors for record in records if record.complete} for records in (found, whole)]
    assert complete[0] == complete[1]


def test_a_worker_s_death_moves_no_candidate(tmp_path: Path) -> None:
    """Its candidate comes next, as another trial."""
    whole = Home(tmp_path / "whole").run()
    calls: list[Factors] = []

    def dying(factors: Factors) -> Evaluation:
        calls.append(factors)
        if len(calls) in (4, 11):
            raise WorkerDied("its worker ended")
        return evaluated(factors)

    found = Home(tmp_path / "torn").run(evaluate=dying)
    assert calls[3] == calls[4] and calls[10] == calls[11]
    complete = [[record.factors for record in records if record.complete] for records in (found, whole)]
    assert set(complete[0]) == set(complete[1])


def published(records: list[TrialRecord]) -> TrialRecord:
    return next(record for record in records if record.factors == PUBLISHED)


def test_a_candidate_that_ends_its_process_again_and_again_counts_as_failed(tmp_path: Path) -> None:
    """The first three processes die of it; the fourth says so, and goes on with all others as the seed has them."""

    def deadly(factors: Factors) -> Evaluation:
        if factors == PUBLISHED:
            raise Killed
        return good(factors)

    whole, home, said = Home(tmp_path / "whole").run(), Home(tmp_path / "deadly"), list[str]()
    watcher = Silent()
    watcher.said = said.append  # type: ignore[method-assign]
    for _ in range(FATAL):
        with pytest.raises(Killed):
            home.run(evaluate=deadly, watcher=watcher)
        assert said == []
    found = home.run(evaluate=deadly, watcher=watcher)
    (told,) = said
    assert told.startswith("trial 1 counts as failed: its process ended before it did, 3 times")
    assert published(found).reason in told and not published(found).complete
    alike = [[replace(record, reason=None) for record in records] for records in (found, whole)]
    assert alike[0] == alike[1]  # where it failed for a reason of its own
    assert home.run(evaluate=deadly, watcher=watcher) == found and len(said) == 1


def test_interrupts_and_a_full_disk_are_no_deaths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(factors: Factors) -> Evaluation:
        if factors == PUBLISHED:
            raise KeyboardInterrupt
        return good(factors)

    def full(self: Folder, record: TrialRecord, *more: Any) -> None:
        raise OSError(28, "No space left on device")

    home = Home(tmp_path)
    for _ in range(FATAL + 1):
        with pytest.raises(KeyboardInterrupt):
            home.run(evaluate=interrupted)
    write = Folder.write_trial
    for _ in range(FATAL + 1):
        monkeypatch.setattr(Folder, "write_trial", full)
        with pytest.raises(OSError, match="No space left"):
            home.run(evaluate=good)
    monkeypatch.setattr(Folder, "write_trial", write)
    assert published(home.run(evaluate=good)).complete


def test_a_baseline_that_ends_its_process_ends_the_study_with_a_sentence(tmp_path: Path) -> None:
    def deadly(factors: Factors) -> Evaluation:
        raise Killed

    home = Home(tmp_path)
    for _ in range(2):  # each start after the sentence tries again
        for _ in range(FATAL):
            with pytest.raises(Killed):
                home.run(evaluate=deadly)
        with pytest.raises(UserError, match=r"the baseline failed.*: its process ended before it did, 3 times"):
            home.run(evaluate=deadly)
    assert published(home.run(evaluate=good)).complete


DEADLY = """
import os, sys
from pathlib import Path
from tests.search.study.test_coordinator import PUBLISHED, good, opened

opened(Path(sys.argv[1]), lambda factors: os._exit(7) if factors == PUBLISHED else good(factors)).run(6)
"""


def test_a_real_process_that_is_ended_so(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", DEADLY, str(tmp_path)]
    codes = [subprocess.run(command, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}) for _ in range(FATAL + 1)]
    assert [done.returncode for done in codes] == [7] * FATAL + [0]
