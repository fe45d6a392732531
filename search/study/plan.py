"""A study's plan: its size, its cost, and the lines that tell the user, at the start and in a dry run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import UserError
from search.optimizer.space import SOBOL
from search.settings.kept import check_resumable, kept_settings
from search.settings.model import objectives
from search.study import estimate, racing
from search.study.verdict import fewest
from search.terminal.progress import ARROWS, duration

if TYPE_CHECKING:
    from rich.console import Console

    from search.settings.job import Job

DAY = 24 * 3600


@dataclass(frozen=True)
class Plan:
    """A study's size and cost. done: trials that are complete already."""

    job: Job
    done: int = 0

    @property
    def images(self) -> int:
        """Images of a trial on all prompts."""
        return len(self.job.prompts)

    @property
    def held_out(self) -> int:
        """Images of a confirmation pass."""
        return len(self.job.held_out)

    @property
    def first(self) -> int:
        """How many candidates come before the sampler's."""
        return len(self.job.fixed) + SOBOL

    @property
    def passes(self) -> int:
        """The most passes of the confirmation: the finalists, and the baseline."""
        return 1 + self.job.config.finalists

    @property
    def per_image(self) -> int:
        """U-Net evaluations per image: two per step under guidance, and those of each frame for a redrawn video."""
        spec = self.job.spec
        part = spec.strength if spec.kind in ("image-to-image", "video-to-video") else 1
        frames = spec.frames if spec.kind == "video-to-video" else 1
        return frames * max(1, int(part * self.job.steps)) * (2 if self.job.guidance > 1 else 1)

    @property
    def evaluations(self) -> int:
        """U-Net evaluations still to do, the confirmation included."""
        config = self.job.config
        left = max(0, config.trials - self.done)
        whole = min(left, max(0, len(self.job.fixed) - self.done))
        each = racing.usual(self.images) if config.racing else self.images
        once = self.images if config.guardrails and not self.done else 0
        images = whole * self.images + (left - whole) * each + once + self.passes * self.held_out
        return round(self.per_image * images)

    def seconds(self) -> tuple[float, bool]:
        """(estimated seconds, whether that rests on measurements here)."""
        return estimate.seconds(self.job, self.evaluations)

    def lines(self) -> list[str]:
        """The plan as lines for the terminal."""
        job, c, s = self.job, self.job.config, self.job.spec
        begun = f"{self.done} of them done, " if self.done else ""
        few = f" (it has no {c.limit})" if self.images < c.limit else ""
        size = f"{s.resolution}×{s.resolution}" + (f", {s.frames} frames" if s.frames > 1 else "")
        guidance = f"{job.steps} steps, guidance {job.guidance:g}"
        goals = ", ".join(f"{info.name} {ARROWS[info.direction]}" for info in objectives(c.objectives or ()))
        prompts = f"{self._prompts()} of '{Path(job.prompt_set).name}' each{few}"
        return [
            f"study       {c.name}: {c.trials} trials, {begun}{prompts}",
            f"model       {s.name}, {s.kind.replace('-', ' ')}, {size}, {guidance}, {job.device}{self._workers()}",
            f"objectives  {goals}",
            f"candidates  {self._candidates()}; {self._searched()}",
            *self._low(),
            f"then        {self._finalists()} against the baseline (FreeU off) on {self.held_out} held-out prompts",
            *self._few(),
            f"work        {self._work()}",
            f"results     {job.folder.root}",
        ]

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        seconds, measured = self.seconds()
        work = {"unet_evaluations": self.evaluations, "seconds": seconds, "seconds_measured": measured}
        counts = {
            "trials": self.job.config.trials,
            "done": self.done,
            "prompts": self.images,
            "held_out": self.held_out,
        }
        return {"study": self.job.config.name, **counts, **work, "settings": kept_settings(self.job)}

    def show(self, console: Console) -> None:
        for line in self.lines():
            console.print(line, markup=False, soft_wrap=True)

    def _prompts(self) -> str:
        steps = racing.rungs(self.images) if self.job.config.racing else (self.images,)
        return f"{', '.join(map(str, steps[:-1]))} or {self.images} prompts" if steps[1:] else f"{self.images} prompts"

    def _workers(self) -> str:
        config = self.job.config
        where = f" on Ray at {config.ray}" if config.ray else ""
        return f", {config.workers} workers{where}" if config.workers > 1 or where else ""

    def _candidates(self) -> str:
        config, fixed = self.job.config, self.job.fixed
        sobol = min(SOBOL, max(0, config.trials - len(fixed)))
        rest = max(0, config.trials - len(fixed) - sobol)
        started = sum(origin.startswith("from:") for origin, _ in fixed)
        first = "the baseline" + (", the published factors" if any(each == "published" for each, _ in fixed) else "")
        first += f", {started} of other studies and presets" if started else ""
        return f"{first}, {sobol} Sobol points, {rest} by {config.sampler}"

    def _searched(self) -> str:
        """The version and convention, and what is searched beside the four factors."""
        space = self.job.space
        names = [each.name for each in space.dimensions]
        fixed = {name: value for name, value in space.fixed.items() if name not in ("version", "stages")}
        version, stages = (space.fixed.get(name, "v1 and v2") for name in ("version", "stages"))
        said = f"FreeU {version} by {'width and block' if 'stages' in names else stages}"
        said += "" if names == ["b1", "b2", "s1", "s2"] else f", searching {', '.join(names)}"
        return said + (f" with {', '.join(f'{name} {value:g}' for name, value in fixed.items())}" if fixed else "")

    def _low(self) -> list[str]:
        """Said where it is asked for."""
        n = self.job.config.low_steps
        return [] if n is None else [f"first rung  {n} steps, if they rank the first candidates as {self.job.steps} do"]

    def _finalists(self) -> str:
        n = self.job.config.finalists
        return "the best pick" if n == 1 else f"the {n} best picks"

    def _few(self) -> list[str]:
        """Said before any image is drawn, where no outcome could count."""
        rows = self.job.config.finalists * len(self.job.directions)
        least = fewest(rows)
        if self.held_out >= least:
            return []
        return [f"warning     too few held-out prompts for {rows} comparisons: no difference can count below {least}"]

    def _work(self) -> str:
        seconds, measured = self.seconds()
        minutes = self.job.config.minutes
        limit = f", at most {minutes:g} minutes" if minutes is not None else ""
        how = "as measured here" if measured else "a rough guess: this model has not run here before"
        if self.job.device == "cpu" and seconds > DAY:
            gpus = estimate.on_gpus(self.job, self.evaluations).items()
            how += "; use a GPU: " + ", ".join(f"on {name} about {duration(each)}" for name, each in gpus)
        return f"{self.evaluations:,} U-Net evaluations, about {duration(seconds)} ({how}){limit}"


def plan(job: Job) -> Plan:
    """The plan of a job, from where its study stands.

    Raises:
        UserError: the study was begun with other settings, or a first rung of fewer steps can't be.
    """
    check_resumable(job)
    few, n = job.config.low_steps, len(job.prompts)
    if few is not None and few >= job.steps:
        raise UserError(f"--low-steps {few}: give fewer than the {job.steps} steps of all other images")
    if few is not None and len(racing.rungs(n)) == 1:
        raise UserError(
            f"--low-steps {few} is for the first of several rungs, and {n} prompts make only one: give "
            f"{2 * racing.FEWEST} or more"
        )
    return Plan(job, sum(record.complete for record in job.folder.read_trials()))
