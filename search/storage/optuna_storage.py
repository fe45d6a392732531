"""Where Optuna keeps a study: SQLite in its folder, or a PostgreSQL server that several machines share.

SQLite belongs to one coordinator, which holds the folder's lock. On a server each coordinator keeps the trials in its
hands alive by a heartbeat (Optuna's own table, the server's clock); one whose heart stands still for LEASE seconds has
lost them. What one of them alone may do at a time is under a lease too (search/storage/leases.py). A server that goes
away is waited for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

from search.storage.addresses import hidden
from search.storage.quiet import quiet
from search.storage.server_address import server
from search.storage.study_folder import StudyFolder

if TYPE_CHECKING:
    import optuna
    from sqlalchemy import Engine

    from search.storage.leases import Leases
    from search.storage.posted_work import PostedWork
    from search.storage.waiting import Waiting

Direction = Literal["minimize", "maximize"]
BEAT = 10  # seconds
LEASE = 60
TRIALS, TRACKING, OPENING = "trials", "tracking", "opening"  # purposes of the lock
DOING = {
    TRIALS: "begins or ends a trial",
    TRACKING: "logs to MLflow",
    OPENING: "opens a study",
    "spread": "measures the guardrails",
    "result": "confirms the picks",
}
"""Purpose (its first word) → what its holder does."""


class Storage:
    """A study's storage; constructing it does not connect."""

    def __init__(
        self,
        folder: StudyFolder,
        url: str | None = None,
        lease: float = LEASE,
        say: Callable[[str], None] = lambda text: None,
    ) -> None:
        """url: of the server, as postgresql://user:password@host/database; None is SQLite in the folder. lease: seconds
        of silence after which others take over what this process holds. say: tells a person of waits.
        """
        self.folder, self.lease, self._say = folder, lease, say
        self.url = None if url is None else server(url)
        self._study: optuna.Study | None = None
        self._posted: PostedWork | None = None
        self._locked: set[str] = set()  # what for, by this process
        self._beating: set[int] = set()
        self._heart: threading.Thread | None = None

    @property
    def shared(self) -> bool:
        """Whether others may work on the study too."""
        return self.url is not None

    def open(self, directions: Mapping[str, str]) -> optuna.Study:
        """Open the study; create it if there is none."""
        import optuna

        wanted: list[Direction] = ["maximize" if direction == "up" else "minimize" for direction in directions.values()]
        if self.url is None:
            from search.storage.folder_database import in_folder

            return in_folder(self.folder, wanted)
        if self._study is not None:
            return self._study
        from search.storage.bounded_connection import connecting
        from search.storage.reconnecting import ReconnectingStorage

        self._engine.connect().close()  # a server that isn't there at the beginning is not waited for
        with self.lock(OPENING):
            self._storage = ReconnectingStorage(
                self.url,
                engine_kwargs={"pool_pre_ping": True, "creator": connecting(self.url)},
                heartbeat_interval=BEAT,
                grace_period=max(1, round(self.lease)),
                waiting=self._waiting,
                before_change=lambda: self._leases.check(self._name(TRIALS)),
            )
            self._study = optuna.create_study(
                storage=self._storage, study_name=self.folder.name, directions=wanted, load_if_exists=True
            )
            return self._study

    def known(self, key: str) -> Any:
        """What the study has under a key on its server; None where there is nothing yet, no study either. Changes
        nothing. Raises UserError where the server can't be reached now."""
        from search.storage import agreed

        with quiet(self):
            return agreed.known(self._engine, self.folder.name, key)

    def once(
        self, study: optuna.Study, key: str, make: Callable[[], Any], meanwhile: Callable[[], bool] = lambda: False
    ) -> Any:
        """What the study has under a key, of JSON's types; made where nothing is kept yet, by whatever process. What
        was kept first stays. meanwhile: done while another one makes it; False where there is nothing to do."""
        from search.storage import agreed

        def found() -> Any:
            kept = study.user_attrs.get(key)
            if kept is None:
                made = make()
                if self.url is None:
                    study.set_user_attr(key, made)
                else:
                    self._waiting.until_answered(lambda: agreed.keep(self._engine, study._study_id, key, made))
                kept = study.user_attrs[key]
            return kept

        return self.exclusively(found, key, meanwhile)

    def posted(self, study: optuna.Study) -> PostedWork:
        """The work that all machines of a study on a server share."""
        from search.storage.posted_work import PostedWork

        if self._posted is None:
            self._posted = PostedWork(self._engine, study._study_id, self.lease, self._waiting)
            self._begin_to_beat()
        return self._posted

    @cached_property
    def _engine(self) -> Engine:
        """For what Optuna's storage doesn't do."""
        from sqlalchemy import create_engine

        from search.storage.bounded_connection import connecting

        assert self.url is not None
        return create_engine(self.url, pool_pre_ping=True, creator=connecting(self.url))

    @cached_property
    def _waiting(self) -> Waiting:
        from search.storage.waiting import Waiting

        assert self.url is not None
        return Waiting(f"the server of --storage {hidden(self.url)}", self._say)

    @cached_property
    def _leases(self) -> Leases:
        from search.storage.leases import Leases

        return Leases(self._engine, self.lease, self._waiting, self._say)

    def _name(self, purpose: str) -> str:
        """Of a lease."""
        return purpose if purpose == OPENING else f"{self.folder.name}: {purpose}"  # Optuna's tables are all studies'

    @contextmanager
    def lock(
        self, purpose: str = TRIALS, patience: float | None = None, meanwhile: Callable[[], bool] = lambda: False
    ) -> Iterator[None]:
        """Nobody else is in such a block for this purpose meanwhile, unless this process is silent for longer than a
        lease. patience: seconds to wait for one who lives; without end where None. meanwhile: as `once` has it. Raises
        Busy."""
        if self.url is None or purpose in self._locked:  # the folder is locked for the whole run
            yield
            return
        self._begin_to_beat()
        doing = DOING.get(purpose.partition(" ")[0], "works on it")
        with self._leases.hold(self._name(purpose), doing, patience, meanwhile):
            self._locked.add(purpose)
            try:
                yield
            finally:
                self._locked.remove(purpose)

    def exclusively(
        self, call: Callable[[], Any], purpose: str = TRIALS, meanwhile: Callable[[], bool] = lambda: False
    ) -> Any:
        """What a call gives in a `lock`; made again where others took this process for dead meanwhile."""
        if self.url is None or purpose in self._locked:
            return call()
        from search.storage.leases import LeaseLost

        while True:
            try:
                with self.lock(purpose, meanwhile=meanwhile):
                    return call()
            except LeaseLost:
                self._say("this machine was silent for so long that another one took over from it")

    def check(self, purpose: str) -> None:
        """Raises LeaseLost where others took this process, which is in a `lock`, for dead."""
        if self.url is not None:
            self._leases.check(self._name(purpose))

    @contextmanager
    def ending(self) -> Iterator[None]:
        """The run is to end: a server is waited for no more than a moment, and what it isn't told then it learns by the
        end of a lease."""
        if self.url is None:
            yield
            return
        from optuna.exceptions import StorageInternalError
        from sqlalchemy.exc import SQLAlchemyError

        self._waiting.hurry()
        with suppress(SQLAlchemyError, StorageInternalError):
            yield

    def hold(self, trial_id: int) -> None:
        """Take the lease of a trial, and renew it until `release`."""
        if self.url is None:
            return
        self._storage.record_heartbeat(trial_id)
        self._beating.add(trial_id)
        self._begin_to_beat()

    def release(self, trial_id: int) -> None:
        """Stop renewing the lease: the trial has ended."""
        self._beating.discard(trial_id)

    def lost(self, study: optuna.Study) -> list[int]:
        """Numbers of running trials whose process has ended; all running ones if the study isn't shared."""
        from datetime import datetime, timedelta

        from optuna.trial import TrialState

        running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
        if self.url is None:
            return [trial.number for trial in running]
        stale = set(self._storage._get_stale_trial_ids(study._study_id))
        # A process that was killed between taking a trial and its first beat left none; clocks may differ a little.
        long_ago = datetime.now() - timedelta(seconds=10 * self.lease)
        unborn = {trial._trial_id for trial in running if trial.datetime_start and trial.datetime_start < long_ago}
        if unborn:
            unborn -= self._ever_beaten()
        return [trial.number for trial in running if trial._trial_id in (stale | unborn) - self._beating]

    def _ever_beaten(self) -> set[int]:
        from optuna.storages._rdb.models import TrialHeartbeatModel
        from sqlalchemy import select

        def read() -> set[int]:
            with self._engine.connect() as connection:
                return {row[0] for row in connection.execute(select(TrialHeartbeatModel.trial_id))}

        return set(self._waiting.until_answered(read))

    def _begin_to_beat(self) -> None:
        if self._heart is None:
            self._heart = threading.Thread(target=self._beat, daemon=True)
            self._heart.start()

    def _beat(self) -> None:
        while True:
            time.sleep(min(BEAT, self.lease / 3))
            with suppress(Exception):  # a server that is away for long: the next beat may reach it
                self._leases.renew()
                if self._posted is not None:
                    self._posted.renew()
                for trial_id in tuple(self._beating):
                    self._storage.record_heartbeat(trial_id)
