"""Workers on a Ray cluster: actors that hold the model. Nothing else imports ray.

An actor asks for a GPU, under `--device cpu` for a CPU: what the machine that begins the study has says nothing.
Actors that the cluster has no room for start as soon as a machine joins. One that dies, or whose machine leaves, is
made again.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Any

from configs import UserError, devices, shortened
from search.evaluation import Evaluators
from search.workers.crew import Job
from search.workers.processes import Worker, WorkerPool

SECONDS_TO_ANSWER = 5
CPU, GPU = "CPU", "GPU"
"""Ray's resources."""


def actors(load: Callable[[], Evaluators], address: str, workers: int, device: str | None) -> WorkerPool:
    """A crew of Ray actors. address: as `ray.init` takes it, or "local" for a cluster of this machine alone. device: as
    asked for; None is a GPU.

    Raises:
        UserError: ray is not installed, no cluster is there, or it has no GPU and no device was asked for.
    """
    try:
        import ray
        from ray.exceptions import NodeDiedError, RayActorError, RayError, WorkerCrashedError
    except ImportError as error:
        raise UserError(f'--ray needs another package: pip install "freeu-search[ray]" ({error})') from error
    if not ray.is_initialized():
        _reached(address)
        try:
            ray.init(
                address=address,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                namespace="freeu-search",
            )
        except (ConnectionError, ValueError, RuntimeError, OSError, RayError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise UserError(f"--ray {address}: no cluster answers there ({reason}){_hint(address)}") from error
    resource = CPU if device == "cpu" else GPU
    if device is None and not ray.cluster_resources().get(GPU):
        raise UserError(
            f"--ray {address}: no machine there has a GPU: give --device cpu, or --device cuda to wait for one"
        )
    gpus = int(resource == GPU)
    options: dict[str, Any] = {"num_gpus": gpus, "num_cpus": 1 - gpus, "max_restarts": 0}
    if python_path := os.environ.get("PYTHONPATH"):  # by which this process found itself, and modules of the user's own
        options["runtime_env"] = {"env_vars": {"PYTHONPATH": f"{python_path}{os.pathsep}${{PYTHONPATH}}"}}
    made = ray.remote(**options)(_Holder)

    def maker() -> Worker:
        return _Actor(made.remote(load, workers, resource))

    died = (RayActorError, WorkerCrashedError, NodeDiedError)
    return WorkerPool([maker] * workers, died, partial(_check, address))


def _hint(address: str) -> str:
    """Where something did listen at host:port, and let nobody in."""
    return "; if it asks for a token, set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN" if ":" in address else ""


def _check(address: str) -> None:
    """Raises UserError where the cluster can't do anything any more: Ray itself would wait for good."""
    import ray

    context, again = ray.get_runtime_context(), "start Ray again, and the same command resumes the study"
    host, _, port = context.gcs_address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except OSError as error:
        raise UserError(f"--ray {address}: its head (GCS) does not answer ({error}): {again}") from error
    here = [node for node in ray.nodes() if node["NodeID"] == context.get_node_id()]
    if not any(node["Alive"] for node in here):
        raise UserError(f"--ray {address}: Ray's process on this machine (raylet) has ended: {again}")


def _reached(address: str) -> None:
    """Ray itself would try for minutes. Raises UserError where nobody listens at host:port."""
    host, colon, port = address.rpartition("://")[2].rpartition(":")
    if not colon:  # "local", "auto"
        return
    try:
        socket.create_connection((host, int(port)), timeout=SECONDS_TO_ANSWER).close()
    except (OSError, ValueError) as error:
        raise UserError(f"--ray {address}: no cluster answers there ({error})") from error


def _not_begun(error: str) -> str:
    """Of Ray's words, which hold the worker's whole traceback, the last line."""
    lines = [line for line in error.splitlines() if line.strip()]
    return (
        f"--ray: a worker can't begin: {shortened(lines[-1].strip())}: its machine needs the packages and modules of "
        "this one (PYTHONPATH is taken along)"
    )


class _Holder:
    """In the actor's process."""

    def __init__(self, load: Callable[[], Evaluators], workers: int, resource: str) -> None:
        devices.limit_threads(_beside(workers, resource))
        self._parts: Evaluators | UserError
        try:
            self._parts = load()
        except UserError as error:  # an actor whose beginning raises would look like a death
            self._parts = error

    def do(self, job: Job | None) -> Any:
        if isinstance(self._parts, UserError):
            raise self._parts
        return None if job is None else job(self._parts, lambda done: None)


def _beside(workers: int, resource: str) -> int:
    """How many workers this machine can hold, each of which takes one of the resource."""
    import ray

    here = ray.get_runtime_context().get_node_id()
    holds = next((int(each["Resources"].get(resource, 1)) for each in ray.nodes() if each["NodeID"] == here), 1)
    return max(1, min(workers, holds))


class _Actor:
    """A worker of the crew."""

    def __init__(self, handle: Any) -> None:
        self._handle = handle

    def ready(self) -> Future[Any]:
        return self.submit(None)

    def submit(self, job: Job | None) -> Future[Any]:
        return _unwrapped(self._handle.do.remote(job).future())

    def close(self) -> None:
        import ray

        ray.kill(self._handle)


def _unwrapped(future: Future[Any]) -> Future[Any]:
    """Ray wraps what a job raises into an error of its own: here it is again. An actor that can't even begin, as where
    its machine lacks a package, would be tried again in vain: a UserError."""
    from ray.exceptions import RayActorError, RayTaskError

    found: Future[Any] = Future()

    def pass_on(ended: Future[Any]) -> None:
        error = ended.exception()
        if error is None:
            found.set_result(ended.result())
        elif isinstance(error, RayActorError) and error.actor_init_failed:
            found.set_exception(UserError(_not_begun(str(error))))
        else:
            found.set_exception(error.cause if isinstance(error, RayTaskError) and error.cause else error)

    future.add_done_callback(pass_on)
    return found
