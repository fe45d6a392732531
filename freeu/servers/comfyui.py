"""ComfyUI's HTTP API: a workflow in API format in, images out.

Source: server.py and execution.py of github.com/comfyanonymous/ComfyUI. POST /prompt checks a workflow and queues it
under an id, which newer servers take from us; /history/ID holds what came out, once it has; /view hands out files.
Servers from 2025 on interrupt one item by its id, older ones whatever runs: so we look first that it is ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

import torch

from configs import UserError, shortened
from freeu.generate import GenerationError

from .http import Address, Client, Refused, Unreachable
from .images import Broken, pixels
from .pool import Watch
from .progress import Progress

PORT = 8188
TRIES = 5
"""Of an image that got lost on the server: a restart, a cleared queue, an interruption there, a broken transfer."""
LONGEST = 3600.0
"""Seconds that a server may do the same item."""
SHORT, LONG, SHARE = 0.01, 0.5, 0.02
"""Between two looks at an image pass 2 % of the time that it took so far, within these bounds."""
GLANCE = 2.0
"""Seconds between two looks at the queue."""
PARTING = 5.0
"""Seconds for what is said to a server on leaving."""


class ComfyUI:
    """One server."""

    depth = 2

    def __init__(self, place: Address) -> None:
        self.client = Client(place)
        self._client = f"freeu-search-{uuid.uuid4()}"
        self._progress = Progress(place, self._client)
        self._sent: dict[str, str] = {}  # by what was sent, its id on the server
        self._lock = threading.Lock()

    def __str__(self) -> str:
        return f"--server {self.client.address}"

    def alive(self) -> bool:
        """Whether it answers."""
        try:
            self.version()
        except (Unreachable, Refused, UserError):
            return False
        return True

    def version(self) -> str:
        """ComfyUI's version, "unknown" of an old one.

        Raises:
            Unreachable, Refused: as `Client`.
            UserError: another program.
        """
        try:
            found = self.client.json("GET", "/system_stats")
        except Refused as error:
            if error.passing:
                raise
            found = None
        system = found.get("system") if isinstance(found, dict) else None
        if not isinstance(system, dict) or "devices" not in found:
            raise UserError(f"{self} is no ComfyUI: it does not answer /system_stats as ComfyUI does")
        return str(system.get("comfyui_version", "unknown"))

    def nodes(self, kinds: Iterable[str]) -> dict[str, dict[str, Any]]:
        """What the server knows of these classes: inputs, outputs; those that it lacks are left out."""
        found: dict[str, dict[str, Any]] = {}
        for kind in dict.fromkeys(kinds):
            answer = self.client.json("GET", f"/object_info/{quote(kind, safe='')}")
            if isinstance(answer, dict) and isinstance(answer.get(kind), dict):
                found[kind] = answer[kind]
        return found

    def converted(self, saved: Mapping[str, Any]) -> Any:
        """A workflow in API format, from what the editor saved; None where the server can't do that.

        It can with the extension github.com/SethRobinson/comfyui-workflow-to-api-converter-endpoint.
        """
        try:
            return self.client.json("POST", "/workflow/convert", saved)
        except Refused:
            return None

    def metadata(self, folder: str, file: str) -> Any:
        """What a safetensors file there says of itself; None where it says nothing, or the server doesn't tell."""
        try:
            return self.client.json("GET", f"/view_metadata/{quote(folder, safe='')}", query={"filename": file})
        except Refused:
            return None

    def draw(self, number: int, workflow: Mapping[str, Any], node: str, watch: Watch) -> list[torch.Tensor]:
        """The images, uint8 (3, H, W), that come out of one node of a workflow. number: tells equal workflows apart.

        Raises:
            Unreachable: the server went away. GenerationError: the server refuses the workflow, or a node failed.
        """
        name = f"{number} {hashlib.sha256(json.dumps(workflow, sort_keys=True).encode()).hexdigest()}"
        self._progress.open()
        lost = "it vanished from the queue"
        for _ in range(TRIES):
            entry = self._done(self._submitted(name, workflow, watch), watch)
            with self._lock:
                key = self._sent.pop(name)
            if entry is None:
                continue
            try:
                return [self._image(image, watch) for image in self._outputs(entry, node)]
            except Interrupted:
                lost = "it was interrupted there"
            except Broken as error:
                lost = str(error)
            finally:
                self._forgotten(key)
        raise GenerationError(f"{self} lost an image {TRIES} times: {lost}")

    def leave(self) -> None:
        """Takes what was sent and is not done out of the queue, and interrupts it where it runs."""
        self._progress.close()
        with self._lock:
            left, self._sent = list(self._sent.values()), {}
        with contextlib.suppress(Unreachable, Refused, UserError):
            if left:
                self.client.raw("POST", "/queue", {"delete": left}, seconds=PARTING)
                for key in left:
                    if key in self._queue(running_only=True):
                        self.client.raw("POST", "/interrupt", {"prompt_id": key}, seconds=PARTING)
        for key in left:
            self._forgotten(key)

    def _submitted(self, name: str, workflow: Mapping[str, Any], watch: Watch) -> str:
        """The id of the workflow on the server, which has it once, whatever befell the requests."""
        for attempt in range(TRIES):
            with self._lock:
                known = self._sent.get(name)
            if known is not None and (self._entry(known) is not None or known in self._queue()):
                return known
            key = known or str(uuid.uuid4())
            with self._lock:
                self._sent[name] = key
            try:
                answer = self.client.json(
                    "POST", "/prompt", {"prompt": workflow, "prompt_id": key, "client_id": self._client}
                )
            except Refused as error:
                if not error.passing:
                    with self._lock:
                        del self._sent[name]
                    raise GenerationError(f"{self} refuses the workflow: {refusal(error.text)}") from error
                watch.sleep(0.2 * 2**attempt)
                continue
            given = answer.get("prompt_id") if isinstance(answer, dict) else None
            with self._lock:
                self._sent[name] = given if isinstance(given, str) else key
                return self._sent[name]
        raise GenerationError(f"{self} answered a workflow with errors {TRIES} times")

    def _done(self, key: str, watch: Watch) -> dict[str, Any] | None:
        """What the server keeps of an item once it has ended; None where the server has lost it."""
        began = glanced = moved = time.monotonic()
        running: frozenset[str] = frozenset()
        while True:
            watch.step(self._progress.of(key))
            if (entry := self._entry(key)) is not None:
                return entry
            now = time.monotonic()
            if now - glanced > GLANCE:
                glanced = now
                queue = self._queue()
                if key not in queue:
                    return self._entry(key)  # it may have ended between the two looks
                if (present := frozenset(one for one, runs in queue.items() if runs)) != running:
                    running, moved = present, now
                if now - moved > LONGEST:
                    raise GenerationError(f"{self} has done nothing else for {LONGEST / 60:g} minutes: restart it")
            watch.sleep(min(LONG, max(SHORT, SHARE * (now - began))))

    def _entry(self, key: str) -> dict[str, Any] | None:
        found = self._patiently(f"/history/{key}")
        entry = found.get(key) if isinstance(found, dict) else None
        return entry if isinstance(entry, dict) else None

    def _queue(self, running_only: bool = False) -> dict[str, bool]:
        """The ids in the queue, each with whether it runs."""
        found = self._patiently("/queue")
        lists = {"queue_running": True} if running_only else {"queue_pending": False, "queue_running": True}
        items = [(item, runs) for name, runs in lists.items() for item in (found or {}).get(name, [])]
        return {str(item[1]): runs for item, runs in items if isinstance(item, list) and len(item) > 1}

    def _patiently(self, path: str) -> Any:
        """A GET that is tried again where the server has a fault of its own. Raises Unreachable."""
        for attempt in range(TRIES):
            try:
                return self.client.json("GET", path)
            except Refused as error:
                said = error
                time.sleep(0.05 * 2**attempt)
        raise Unreachable(str(said))

    def _outputs(self, entry: Mapping[str, Any], node: str) -> list[dict[str, str]]:
        """The files that a node made. Raises GenerationError, and Interrupted."""
        told = entry.get("status")
        status = told if isinstance(told, dict) else {}
        messages = {one[0]: one[1] for one in status.get("messages") or () if isinstance(one, list) and len(one) == 2}
        if "execution_interrupted" in messages:
            raise Interrupted
        if "execution_error" in messages:
            raise GenerationError(failure(str(self), messages["execution_error"]))
        outputs = entry.get("outputs")
        made = outputs.get(node) if isinstance(outputs, dict) else None
        files = made.get("images") if isinstance(made, dict) else None
        if not files:
            raise GenerationError(f"{self} ended a workflow without an image, and does not say why")
        return list(files)

    def _image(self, file: Mapping[str, str], watch: Watch) -> torch.Tensor:
        """A file's pixels; fetched once more where they come broken."""
        query = {key: str(file.get(key, "")) for key in ("filename", "subfolder", "type")}
        for _ in range(TRIES):
            watch.step()
            try:
                return pixels(self.client.raw("GET", "/view", query=query))
            except (Broken, Refused) as error:
                said = str(error)
                watch.sleep(0.1)
        raise Broken(said)

    def _forgotten(self, key: str) -> None:
        """Leaves nothing of an item in the history that the server's user sees."""
        with contextlib.suppress(Unreachable, Refused, UserError):
            self.client.raw("POST", "/history", {"delete": [key]}, seconds=PARTING)


class Interrupted(Exception):
    """Somebody pressed Cancel on the server."""


def refusal(text: str) -> str:
    """ComfyUI's reasons why it does not take a workflow, in a line."""
    try:
        found = json.loads(text)
        said = [
            f"node {key} ({node.get('class_type')}): {error.get('message')}: {error.get('details')}"
            for key, node in (found.get("node_errors") or {}).items()
            for error in node.get("errors", [])
        ]
        error = found.get("error") or {}
        said = said or [f"{error.get('message')} {error.get('details') or ''}" if isinstance(error, dict) else error]
    except (ValueError, AttributeError, TypeError):
        said = [text]
    return shortened(" ".join(said[0].split()), 400)


def failure(server: str, error: Any) -> str:
    """What failed there, in a line. error: the data of ComfyUI's message execution_error."""
    found = error if isinstance(error, dict) else {}
    where = f"node {found.get('node_id')} ({found.get('node_type')})"
    said = shortened(" ".join(str(found.get("exception_message", "no reason given")).split()), 400)
    kind = str(found.get("exception_type", ""))
    if "OutOfMemory" in kind or "out of memory" in said.lower():
        return f"{server} is out of memory at {where}: make the images smaller, or start ComfyUI with --lowvram"
    return f"{server} failed at {where}: {kind.rpartition('.')[2]}: {said}"
