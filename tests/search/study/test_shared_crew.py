"""Machines that share what all of them wait for, on a PostgreSQL server: each piece is drawn once, whoever draws it."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from configs import UserError
from freeu import IDENTITY, Candidate
from freeu.generate import GenerationError
from search.evaluation import Evaluation, Evaluators, Task
from search.optimizer.space_file import default
from search.settings import rungs
from search.storage import StudyFolder
from search.storage.optuna_storage import Storage
from search.storage.posted_work import PostedWork
from search.storage.quiet import quiet
from search.study.coordinator import Coordinator
from search.study.held_out import BASE_KEY, Draw, HeldOut, Rows
from search.study.pieces import Piece, gathered
from search.study.recovery import often
from search.study.shared_crew import SharedCrew, packed, read, unpacked, written
from search.workers import SingleWorker
from tests.postgres import Server
from tests.postgres import server as postgres
from tests.search.fakes import FakeGenerator
from tests.search.study.test_coordinator import PUBLISHED, Silent
from tests.search.study.test_pieces import SOME, Broken, evaluators

CUTS = rungs.cuts(rungs.rungs(48), 1, shared=True)
WHOLE = Task(Candidate(IDENTITY), 48)
NAMES = itertools.count()


@pytest.fixture(scope="module")
def running() -> Iterator[Server]:
    with postgres() as found:
        yield found


@pytest.fixture
def board(running: Server, tmp_path: Path) -> Callable[..., PostedWork]:
    """What machines see of one study; a `lease` of 0 seconds is over at once, as of one that died."""
    name = f"shared {next(NAMES)}"

    def opened(lease: float = 60.0) -> PostedWork:
        storage = Storage(StudyFolder(tmp_path, name), running.url)
        with quiet(storage):
            study = storage.open({"clip": "up"})
        return PostedWork(storage._engine, study._study_id, lease, storage._waiting)

    return opened


class Meanwhile(SingleWorker):
    """While it does its first job, others have time for something."""

    def __init__(self, held: Evaluators, others: Callable[[], object]) -> None:
        super().__init__(held)
        self._others: Callable[[], object] | None = others

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        if self._others is not None:
            others, self._others = self._others, None
            others()
        return super().wait(seconds)


def drawn(generator: FakeGenerator) -> Counter[str]:
    return Counter(prompt for _, prompts, _ in generator.calls for prompt in prompts)


def same(found: Evaluation, whole: Evaluation) -> None:
    """To the bit."""
    pd.testing.assert_frame_equal(found.per_image, whole.per_image, check_exact=True)
    assert found.features.keys() == whole.features.keys()
    assert all((found.features[name] == each).all() for name, each in whole.features.items())
    assert found.images is not None and torch.equal(found.images, whole.images)  # type: ignore[arg-type]
    assert (found.n, found.unet_evaluations) == (whole.n, whole.unet_evaluations)


def test_a_piece_goes_to_another_machine_and_comes_back_to_the_bit() -> None:
    assert CUTS == (12, 24, 36, 48)
    piece = Piece(SOME, 12, 24, "search")
    assert read(written(piece)) == piece
    found = piece(evaluators(), lambda done: None)
    again = unpacked(packed(found))
    same(again, found)
    assert again.seconds == found.seconds
    sizes = [torch.zeros(3, 8, 8, dtype=torch.uint8), torch.ones(3, 8, 4, dtype=torch.uint8)]
    several = unpacked(packed(Evaluation({}, 2, found.per_image, images=sizes))).images
    assert isinstance(several, list) and all(map(torch.equal, several, sizes))


def test_whoever_waits_takes_part(board: Callable[..., PostedWork]) -> None:
    generators = [FakeGenerator(), FakeGenerator()]
    told: list[int] = []
    other = SharedCrew(SingleWorker(evaluators(generators[1])), board(), lambda: told.append(1))
    assert not other.help()  # nothing is there yet
    one = SharedCrew(Meanwhile(evaluators(generators[0]), other.help), board())
    task, found = gathered(one, WHOLE, CUTS)
    held = evaluators()
    same(found, held.evaluate(WHOLE))
    assert held.evaluate(task).values == held.evaluate(WHOLE).values
    counts = [drawn(each) for each in generators]
    assert [each.total() for each in counts] == [12, 36] and set((counts[0] + counts[1]).values()) == {1}
    assert told == [1] and not other.help()
    again = SharedCrew(SingleWorker(evaluators(Broken(99))), board())  # as after a restart: all is kept
    same(gathered(again, WHOLE, CUTS)[1], found)
    again.clear()
    with pytest.raises(GenerationError):
        gathered(again, WHOLE, CUTS)


def test_a_machine_that_dies_costs_the_piece_in_its_hands(board: Callable[..., PostedWork]) -> None:
    dead, alive = board(lease=0.0), board()
    generator = FakeGenerator()
    one = SharedCrew(Meanwhile(evaluators(generator), dead.take), alive)
    same(gathered(one, WHOLE, CUTS)[1], evaluators().evaluate(WHOLE))
    assert set(drawn(generator).values()) == {1} and drawn(generator).total() == 48
    # One that lives keeps what it has, and what it gives back is for others at once.
    alive.post("piece", written(Piece(SOME, 0, 12, "search")))
    other = board()
    assert alive.take() is not None and other.take() is None
    alive.renew()
    assert other.take() is None
    alive.give_back("piece")
    assert other.take() == ("piece", written(Piece(SOME, 0, 12, "search")), True)
    alive.give_back("piece")  # another one's by now
    assert alive.take() is None


def test_a_piece_that_ends_machine_after_machine(board: Callable[..., PostedWork]) -> None:
    generator = FakeGenerator()
    for reason in (None, "out of memory"):
        dying = board(lease=0.0)
        dying.post("piece", written(Piece(SOME, 0, 12, "search")))
        for _ in range(3):
            assert dying.take() is not None
            if reason:
                dying.give_back("piece", reason)
        assert board().take() is None
        assert dying.ended(["piece"]) == {"piece": reason}
    alive = board()
    crew = SharedCrew(SingleWorker(evaluators(generator)), alive)
    crew.submit(1, Piece(SOME, 0, 12, "search"))
    name = next(iter(crew._wanted))
    for _ in range(3):
        alive.take()
        alive.give_back(name, None)  # interrupts don't count
    dying = board(lease=0.0)
    assert all(dying.take() for _ in range(3))
    [(key, lost)] = crew.wait()
    assert key == 1 and isinstance(lost, UserError) and often(3) in str(lost) and not generator.calls
    crew.submit(2, Piece(SOME, 0, 12, "search"))  # by a new start: it is tried again
    [(key, found)] = crew.wait()
    assert key == 2 and found.n == 12


def test_what_fails_here_is_tried_elsewhere(board: Callable[..., PostedWork]) -> None:
    broken = SharedCrew(SingleWorker(evaluators(Broken(99))), board())
    fine = SharedCrew(Meanwhile(evaluators(), broken.help), board())
    same(gathered(fine, WHOLE, CUTS)[1], evaluators().evaluate(WHOLE))
    fine.clear()
    with pytest.raises(GenerationError, match="black"):  # it needs them itself
        gathered(broken, WHOLE, CUTS)


def test_held_out_images_that_a_dead_machine_began_are_drawn_whatever_is_cached(
    board: Callable[..., PostedWork],
) -> None:
    """It may have left scores in the cache, and no image."""
    given: list[Any] = []

    class Watched(SingleWorker):
        def submit(self, key: int, job: Any) -> None:
            given.append(job)
            super().submit(key, job)

    begun, other = (Draw(SOME, (f"p{seed}",), (seed,)) for seed in (1, 2))
    assert read(written(replace(begun, anew=True))) == replace(begun, anew=True)
    one = SharedCrew(Watched(Evaluators({"confirm": evaluators().by_purpose["search"]})), board())
    one.submit(1, begun)
    taken = board(lease=0.0).take()
    assert taken is not None and taken[1:] == (written(begun), False)
    one.submit(2, other)
    ended = one.wait() + one.wait()
    assert sorted(key for key, _ in ended) == [1, 2] and given == [replace(begun, anew=True), other]


class Interrupted(SingleWorker):
    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        raise KeyboardInterrupt


def test_an_interrupt_gives_back(board: Callable[..., PostedWork]) -> None:
    one = SharedCrew(Interrupted(evaluators()), board())
    with pytest.raises(KeyboardInterrupt):
        gathered(one, WHOLE, CUTS)
    other = board()
    assert len([*iter(other.take, None)]) == 3
    one.close()
    assert other.take() is not None and other.take() is None


def test_held_out_rows_are_shared_and_leave_nothing(board: Callable[..., PostedWork], tmp_path: Path) -> None:
    generators = [FakeGenerator(), FakeGenerator()]

    def confirming(generator: FakeGenerator) -> Evaluators:
        return Evaluators({"confirm": evaluators(generator).by_purpose["search"]})

    rows = Rows(tuple(f"p{i}" for i in range(24)), tuple(range(24)))
    wanted = {BASE_KEY: Candidate(IDENTITY), 3: SOME}
    told: list[tuple[str, int, int]] = []

    def held_out(name: str, crew: Any, shared: bool) -> HeldOut:
        def began(what: str, images: int, left: int) -> None:
            told.append((what, images, left))

        return HeldOut(StudyFolder(tmp_path, name), crew, rows, block=12, shared=shared, began=began)

    posted = board()
    other = SharedCrew(SingleWorker(confirming(generators[1])), board())
    together = held_out("one", SharedCrew(Meanwhile(confirming(generators[0]), other.help), posted), True)
    alone = held_out("two", SingleWorker(confirming(FakeGenerator())), False)
    found, whole = together.samples(wanted, 24), alone.samples(wanted, 24)
    for key, sample in whole.items():
        assert all((found[key].scores[name] == each).all() for name, each in sample.scores.items())
        assert all((found[key].features[name] == each).all() for name, each in sample.features.items())
    assert [drawn(each).total() for each in generators] == [12, 36]
    assert all(together.folder.held_out_image("0003", row).exists() for row in range(24))
    assert told[:2] == told[2:] == [("baseline", 24, 24), ("trial 3", 24, 0)]
    assert posted._done("SELECT count(*) FROM freeu_work WHERE study = :study", posted._given)[0][0] == 0
    assert not [*together.folder.root.rglob("*.begun")]


def test_two_coordinators_draw_the_baseline_once(running: Server, tmp_path: Path) -> None:
    generators, studies = [FakeGenerator(), FakeGenerator()], list[Coordinator]()
    both = threading.Barrier(2)

    def work(number: int) -> None:
        storage = Storage(StudyFolder(tmp_path / str(number), "baseline"), running.url)
        fixed = [("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))]
        study = Coordinator(
            storage,
            {"clip": "up", "fid": "down"},
            prompts=48,
            space=default(),
            sampler="random",
            seed=0,
            fixed=fixed,
            watcher=Silent(),
        )
        studies.append(study)
        crew = SingleWorker(evaluators(generators[number]))
        both.wait()
        study.run(crew, 4, everyone=SharedCrew(crew, storage.posted(study.trials.optuna)))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    calls = [call for each in generators for call in each.calls]
    counts = Counter(prompt for factors, prompts, _ in calls if factors == IDENTITY for prompt in prompts)
    assert counts.total() == 48 and set(counts.values()) == {1}
    alone = evaluators().evaluate(WHOLE)
    records = [next(one for one in each.records() if one.candidate.baseline) for each in studies]
    assert records[0] == records[1] and records[0].images == 48
    assert {name: each.value for name, each in records[0].values.items()} == {
        name: alone.values[name].value for name in ("clip", "fid")
    }
    grids = [each.storage.folder.grid_file(records[0].number).exists() for each in studies]
    assert sum(grids) == 1  # whole, where the trial was
