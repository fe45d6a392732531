"""Ask, evaluate, tell, kill, resume, in any order: a state machine over the coordinator.

A kill may fall before any change of Optuna's storage or of the records; workers end in any order, die, or fail.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import optuna
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from optuna.storages import InMemoryStorage

from configs import UserError
from freeu import IDENTITY, Candidate, Factors
from search.evaluation import Evaluation, Evaluators, Task
from search.optimizer.space_file import default
from search.storage import StudyFolder, TrialRecord, Value
from search.storage.optuna_storage import Storage
from search.study.coordinator import Coordinator
from search.workers import WorkerDied
from search.workers.crew import Job
from tests.search.study.test_coordinator import PUBLISHED, Killed, Silent

PROMPTS = 16
CHANGES = (
    "create_new_trial",
    "set_trial_param",
    "set_trial_state_values",
    "set_trial_user_attr",
    "set_trial_system_attr",
)


class Fuse:
    """Burns down by one at each change, and kills at the last."""

    left: int | None = None

    def burn(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed

    @contextmanager
    def lit(self, left: int | None) -> Iterator[None]:
        self.left = left
        try:
            yield
        finally:
            self.left = None


class Kept(InMemoryStorage):
    """Outlives its process, as a file does."""

    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        for name in CHANGES:
            setattr(self, name, self._burning(fuse, getattr(self, name)))

    @staticmethod
    def _burning(fuse: Fuse, change: Callable[..., Any]) -> Callable[..., Any]:
        def changed(*args: Any, **kwargs: Any) -> Any:
            fuse.burn()
            return change(*args, **kwargs)

        return changed


class Folder(StudyFolder):
    """Records that may be cut off, too."""

    fuse: Fuse

    def write_trial(self, record: TrialRecord, *files: Any) -> None:
        self.fuse.burn()
        super().write_trial(record, *files)


class Stored(Storage):
    def __init__(self, folder: Folder, kept: Kept) -> None:
        super().__init__(folder)
        self.kept = kept

    def open(self, directions: Mapping[str, str]) -> optuna.Study:
        wanted = ["maximize" if direction == "up" else "minimize" for direction in directions.values()]
        return optuna.create_study(storage=self.kept, study_name="s", directions=wanted, load_if_exists=True)


class Shuffled:
    """Workers that end in any order; now and then one dies, or whoever runs the study presses Ctrl-C."""

    def __init__(self, evaluate: Callable[[Task], Evaluation], workers: int, dying: float, seed: int) -> None:
        self._parts = Evaluators({"search": lambda task, on_images: evaluate(task)})
        self._workers, self._dying, self._rng = workers, dying, random.Random(seed)
        self._jobs: list[tuple[int, Job]] = []
        self.before_interrupt: int | None = None

    @property
    def free(self) -> int:
        return self._workers - len(self._jobs)

    def submit(self, key: int, job: Job) -> None:
        self._jobs.append((key, job))

    def wait(self, seconds: float | None = None) -> list[tuple[int, Any]]:
        if self.before_interrupt is not None:
            self.before_interrupt -= 1
            if self.before_interrupt < 0:
                raise KeyboardInterrupt
        key, job = self._jobs.pop(self._rng.randrange(len(self._jobs)))
        if self._rng.random() < self._dying:
            return [(key, WorkerDied("its worker ended"))]
        try:
            return [(key, job(self._parts, lambda done: None))]
        except ValueError as error:
            return [(key, error)]

    def close(self) -> None: ...


class Seen(Silent):
    """Remembers who was begun."""

    def __init__(self, begun: set[Factors]) -> None:
        self._begun = begun

    def began(self, number: int, origin: str, candidate: Candidate, images: int) -> None:
        self._begun.add(candidate.factors)


class Machine(RuleBasedStateMachine):
    """What holds whatever happens."""

    @initialize(race=st.booleans(), failing=st.sampled_from([0, 5]))
    def begin(self, race: bool, failing: int) -> None:
        self.race, self.failing = race, failing
        self.home = tempfile.TemporaryDirectory()
        self.fuse = Fuse()
        self.kept = Kept(self.fuse)
        self.folder = Folder(Path(self.home.name), "s")
        self.folder.fuse = self.fuse
        self.wanted, self.killed = 0, False
        self.begun: set[Factors] = set()

    def teardown(self) -> None:
        if hasattr(self, "home"):
            self.home.cleanup()

    def evaluate(self, task: Task) -> Evaluation:
        factors = task.candidate.factors
        assert factors not in self.complete(), "written down already"
        if self.fails(factors):
            raise ValueError("no such layer")
        assert task.begin == (task.before.n if task.before else 0) < task.end
        assert factors.identity or task.base is not None
        values = {
            "clip": Value(-((factors.b1 - 1.3) ** 2), 0.1, task.end, "up"),
            "fid": Value(factors.s1 + factors.b2, 0.1, task.end, "down"),
        }
        return Evaluation(values, task.end, seconds={"total": 0.1}, unet_evaluations=10)

    def fails(self, factors: Factors) -> bool:
        """Some candidates always do, but neither the baseline nor the published."""
        return bool(self.failing and round(1e6 * factors.b1) % self.failing == 1)

    def opened(self) -> Coordinator:
        return Coordinator(
            Stored(self.folder, self.kept),
            {"clip": "up", "fid": "down"},
            prompts=PROMPTS,
            space=default(),
            sampler="random",
            seed=0,
            fixed=[("baseline", Candidate(IDENTITY)), ("published", Candidate(PUBLISHED))],
            watcher=Seen(self.begun),
            race=self.race,
        )

    @rule(
        more=st.integers(0, 6),
        workers=st.integers(1, 4),
        dying=st.sampled_from([0.0, 0.2]),
        fuse=st.none() | st.integers(0, 120),
        interrupt=st.none() | st.integers(0, 8),
        seed=st.integers(0, 99),
    )
    def run(self, more: int, workers: int, dying: float, fuse: int | None, interrupt: int | None, seed: int) -> None:
        crew = Shuffled(self.evaluate, workers, dying, seed)
        crew.before_interrupt = interrupt
        before = len(self.complete())
        self.wanted = max(self.wanted, before + more)
        self.killed = False
        try:
            with self.fuse.lit(fuse):
                self.opened().run(crew, self.wanted)
        except Killed:
            self.killed = True
        except KeyboardInterrupt:
            assert interrupt is not None
        except UserError as error:
            assert self.failing or dying, error
        else:
            assert len(self.complete()) == max(self.wanted, before)

    def complete(self) -> list[Factors]:
        return [record.factors for record in self.folder.read_trials() if record.complete]

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        if not self.kept.get_all_studies():
            return []
        return optuna.load_study(study_name="s", storage=self.kept).get_trials()

    @invariant()
    def nobody_is_finished_twice(self) -> None:
        if hasattr(self, "folder"):
            found = self.complete()
            assert len(found) == len(set(found))
            assert len(found) <= self.wanted

    @invariant()
    def records_and_storage_agree(self) -> None:
        if not hasattr(self, "folder") or self.killed:
            return
        states = {trial.number: trial.state.name for trial in self.trials() if trial.state.is_finished()}
        assert states == {record.number: record.state for record in self.folder.read_trials()}

    @precondition(lambda self: not self.killed)
    @rule()
    def nobody_is_lost(self) -> None:
        """Whoever was begun is complete, or waits, or goes on, or failed for a reason of its own."""
        waiting = {
            default().candidate({**trial.system_attrs.get("fixed_params", {}), **trial.params}).factors
            for trial in self.trials()
            if not trial.state.is_finished()
        }
        worn = {r.factors for r in self.folder.read_trials() if r.reason and r.reason.endswith("times")}
        left = self.begun - set(self.complete()) - waiting - worn
        assert all(self.fails(factors) for factors in left), left

    @rule()
    def the_last_run_ends_all(self) -> None:
        """However it stands, one undisturbed run brings it to what was wanted, unless all that comes fails."""
        self.killed = False
        self.wanted = max(self.wanted, len(self.complete()))
        for _ in range(20):
            crew = Shuffled(self.evaluate, 2, 0.0, 0)  # anew: one may still have a trial of a run that failed
            try:
                self.opened().run(crew, self.wanted)
                break
            except UserError:
                assert self.failing
        assert len(self.complete()) == self.wanted


TestMachine = Machine.TestCase
TestMachine.settings = settings(
    max_examples=40, stateful_step_count=8, deadline=None, suppress_health_check=list(HealthCheck)
)
