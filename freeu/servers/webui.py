"""The HTTP API that the A1111 web UI, Forge and SD.Next share: a request for an image in, the image out.

Sources: modules/api/api.py and modules/progress.py of github.com/lllyasviel/stable-diffusion-webui-forge (as in A1111's
web UI, which it is a fork of); modules/api/generate.py, server.py and modules/processing.py of
github.com/vladmandic/automatic. A request ends with its image, one at a time on a server; an error of the model is HTTP
500 with a JSON object that names it. What somebody interrupts ends with half an image and no word, so we ask.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import json
import threading
import time
import uuid
from collections.abc import Mapping
from typing import Any

import torch

from configs import UserError, shortened
from freeu.generate import GenerationError

from .comfyui import LONGEST, PARTING, TRIES
from .http import Address, Client, Refused, Unreachable
from .images import Broken, pixels
from .pool import Stopped, Watch

PORT = 7860
GLANCE = 0.5
"""Seconds between two looks at the progress."""
TURN = 0.1
"""Seconds between two looks whether the user wants to stop."""
SILENT = 60.0
"""Seconds without an answer about the progress, after which the server counts as gone."""


class WebUI:
    """One server."""

    depth = 1

    def __init__(self, place: Address) -> None:
        self.client = Client(place)

    def __str__(self) -> str:
        return f"--server {self.client.address}"

    def alive(self) -> bool:
        """Whether it answers."""
        with contextlib.suppress(Unreachable, Refused, UserError):
            return isinstance(self.client.json("GET", "/sdapi/v1/progress", query={"skip_current_image": "true"}), dict)
        return False

    def asked(self, path: str) -> Any:
        """The answer to a question before a study; None where it knows no such path.

        Raises:
            UserError: nobody answers.
        """
        try:
            return self.client.json("GET", path)
        except Unreachable as error:
            raise UserError(f"{self} does not answer ({error}): start the web UI, or name its address") from error
        except Refused as error:
            if error.passing:
                raise UserError(f"{self} answers with an error: {error}") from error
            return None

    def draw(self, path: str, request: Mapping[str, Any], watch: Watch) -> torch.Tensor:
        """The image of a request, uint8 (3, H, W).

        Raises:
            Unreachable: the server went away. GenerationError: it refuses the request, or the model failed.
        """
        said = ""
        for attempt in range(TRIES):
            task = f"task(freeu-{uuid.uuid4().hex})"  # SD.Next knows no ids, and passes over it
            try:
                answer = self._answered(path, {**request, "force_task_id": task}, watch)
                if self._interrupted():
                    said = "it was interrupted there"
                    continue
                return pixels(base64.b64decode(answer["images"][0], validate=True))
            except Refused as error:
                if (told := failure(str(self), error)) is not None:
                    raise GenerationError(told) from error
                said = str(error)
            except (Broken, binascii.Error, LookupError, TypeError) as error:
                said = f"no whole image ({error})"
            except Stopped:
                self._stopped(task)
                raise
            watch.sleep(0.2 * 2**attempt)
        raise GenerationError(f"{self} gave no image, {TRIES} times: {said}")

    def _stopped(self, task: str) -> None:
        """Interrupts a request, where it is the one that runs."""
        with contextlib.suppress(Unreachable, Refused, UserError):
            if self._runs(task):
                self.client.raw("POST", "/sdapi/v1/interrupt", {}, seconds=PARTING)

    def _answered(self, path: str, request: Mapping[str, Any], watch: Watch) -> Any:
        """The answer, which takes as long as the image; meanwhile its progress is told, and a stop heard."""
        found: list[Any] = []
        there = threading.Event()

        def send() -> None:
            try:
                found.append(self.client.json("POST", path, request, seconds=LONGEST))
            except Exception as error:  # raised below, in the thread that asked
                found.append(error)
            there.set()

        threading.Thread(target=send, daemon=True).start()
        glanced = heard = time.monotonic()
        while not there.wait(TURN):
            now = time.monotonic()
            if now - glanced > GLANCE:
                glanced = now
                try:
                    watch.step(self._progress(request["force_task_id"]))
                    heard = time.monotonic()
                except Unreachable:
                    if now - heard > SILENT:
                        raise
            watch.step()
        if isinstance(found[0], Exception):
            raise found[0]
        return found[0]

    def _state(self) -> dict[str, Any]:
        with contextlib.suppress(Refused):
            found = self.client.json("GET", "/sdapi/v1/progress", query={"skip_current_image": "true"})
            if isinstance(found, dict):
                return found
        return {}

    def _progress(self, task: str) -> float:
        """The share of the image that is done; 0 while others' are drawn."""
        found = self._state()
        ours = found.get("current_task") in (None, task)
        share = found.get("progress")
        return min(1.0, max(0.0, float(share))) if ours and isinstance(share, int | float) else 0.0

    def _interrupted(self) -> bool:
        """Whether what ran last was interrupted or skipped."""
        state = self._state().get("state")
        return isinstance(state, dict) and bool(state.get("interrupted") or state.get("skipped"))

    def _runs(self, task: str) -> bool:
        """Whether the request of that id is the one that runs; where a server knows no ids, whether one runs."""
        with contextlib.suppress(Refused):
            found = self.client.json("POST", "/internal/progress", {"id_task": task, "live_preview": False})
            return isinstance(found, dict) and bool(found.get("active"))
        state = self._state().get("state")
        return isinstance(state, dict) and str(state.get("job", "")).startswith("API")


def failure(server: str, error: Refused) -> str | None:
    """Why a request failed, in a line; None where it may be tried again."""
    try:
        found = json.loads(error.text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        return None if error.passing else f"{server} refuses the request: {error}"
    kind = str(found.get("error", ""))
    said = next((str(found[key]) for key in ("errors", "detail", "error") if found.get(key)), "no reason given")
    said = shortened(" ".join(said.split()), 400)
    if "OutOfMemory" in kind or "out of memory" in said.lower():
        return f"{server} is out of memory: make the images smaller, or start it with --medvram"
    return f"{server} failed: {kind}: {said}" if error.status >= 500 else f"{server} refuses the request: {said}"
