"""A study's plan: its size, its cost, and the lines that tell the user, at the start and in a dry run."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from configs import shortened
from configs.cli import visible
from configs.console import say
from search.optimizer.space import SOBOL
from search.settings import drafts, rungs, sampling, served, weights
from search.settings.kept import check_resumable, kept_settings
from search.settings.model import objectives
from search.study import cautions, estimate, hardware, looks, racing
from search.study.verdict import fewest
from search.terminal.progress import ARROWS, duration

if TYPE_CHECKING:
    from rich.console import Console

    from search.settings.job import Job

BYTES = 1.4
"""A pixel takes so many, without loss: 1.2 to 1.5 of what diffusion models paint."""


@dataclass(frozen=True)
class Plan:
    """A study's size and cost. done: trials that are complete already."""

    job: Job
    done: int = 0

    @cached_property
    def result(self) -> dict[str, Any] | None:
        """As result.json holds it, where it is that of all complete trials and no more are asked for."""
        found = self.job.folder.read_result()
        return found if found is not None and found["trials"] == self.done >= self.job.config.trials else None

    @property
    def finished(self) -> str:
        """What is said where nothing is left to do."""
        return f"study '{self.job.config.name}' is finished, with {self.done} trials; a larger --trials continues it"

    @property
    def images(self) -> int:
        """Images of a trial on all prompts."""
        return len(self.job.prompts)

    @property
    def held_out(self) -> int:
        """Held-out prompts that there are."""
        return len(self.job.held_out)

    @property
    def first(self) -> int:
        """How many candidates come before the sampler's."""
        return len(self.job.fixed) + SOBOL

    @property
    def passes(self) -> int:
        """The most passes of the confirmation: the baseline, the finalists, and their tuned baselines."""
        return 1 + self.job.config.finalists + min(self.job.config.finalists, self._tuned)

    @property
    def _tuned(self) -> int:
        """Fixed candidates with FreeU off, beside the baseline."""
        return sum(each.off and not each.baseline for _, each in self.job.fixed)

    @property
    def searched(self) -> int:
        """About how many images the whole search takes."""
        return round(self._images(0))

    def once(self, images: int) -> int:
        """Held-out prompts that the confirmation of a search of so many images draws once at least."""
        return looks.least(self.held_out, self.passes, images, self.job.config.held_out)

    @property
    def confirmed(self) -> int:
        """The most images that the confirmation takes, if the search draws as many as are usual."""
        return self.passes * looks.ends(self.once(self.searched), self.held_out, self.passes, self.searched)[-1]

    @property
    def per_image(self) -> int:
        """U-Net evaluations per image: two per step under guidance, one more under PAG, and those of each frame for a
        redrawn video."""
        spec, traits = self.job.spec, self.job.spec.traits
        part = spec.strength if traits.strength else 1
        frames = spec.frames if traits.video and not traits.temporal else 1
        searched = [(each.low + each.high) / 2 for each in self.job.space.dimensions if each.name == "steps"]
        steps = searched[0] if searched else self.job.steps
        perturbed = spec.pag_scale > 0 or any(each.name == "pag_scale" for each in self.job.space.dimensions)
        copies = (3 if traits.picture_guidance else 2) if self.job.guidance > 1 else 1
        return frames * max(1, int(part * steps)) * (copies + perturbed)

    @property
    def evaluations(self) -> int:
        """U-Net evaluations still to do, the confirmation included."""
        if self.result is not None:
            return 0
        once = self.images if self.job.config.guardrails and not self.done else 0
        return round(self.per_image * (self._images(self.done) + once + self.confirmed))

    def _images(self, done: int) -> float:
        """Images of the trials that are left where `done` are complete."""
        config = self.job.config
        left = max(0, config.trials - done)
        fixed = [each for _, each in self.job.fixed if each.baseline or not each.off]  # the others are raced
        whole = min(left, max(0, len(fixed) - done))
        each = racing.usual(self.images) if config.racing else self.images
        return whole * self.images + (left - whole) * each

    def seconds(self) -> tuple[float, bool]:
        """(estimated seconds, whether that rests on measurements here)."""
        if self.result is not None:
            return 0.0, True
        return estimate.seconds(self.job, self.evaluations, self.per_image)

    def lines(self) -> list[str]:
        """The plan as lines for the terminal."""
        from freeu.models import control, few_steps, ip_adapter, memory

        job, c, s = self.job, self.job.config, self.job.spec
        if self.result is not None:
            return [self.finished, f"results     {job.folder.root}"]
        begun = f"{self.done} of them done, " if self.done else ""
        few = f" (it has no {c.limit})" if self.images < c.limit else ""
        where = f"{served.place(job.spec, job.device.in_words())}{self._workers()}"
        size = " or ".join(f"{width}×{height}" for width, height in s.sizes or [s.image_size[::-1]])
        size += f", {s.frames} frames" if s.frames > 1 else ""
        goals = ", ".join(f"{info.name} {ARROWS[info.direction]}" for info in objectives(c.objectives or ()))
        prompts = f"{self._prompts()} of '{Path(job.prompt_set).name}' each{few}"
        kind, sampled = s.kind.replace("-", " "), sampling.in_words(s)
        held_out = f"{self.once(self.searched)} held-out prompts, about {self.confirmed:,} images at most"
        return [
            f"study       {c.name}: {c.trials} trials, {begun}{prompts}",
            f"model       {s.name}, {kind}, {size}, {sampled}, {where}",
            *served.lines(s),
            *few_steps.lines(s),
            *control.lines(s),
            *ip_adapter.lines(s),
            *self._like(),
            f"objectives  {goals}",
            f"judges      {self._judges()}",
            *(f"mind        {each}" for each in cautions.before(job)),
            *(f"weights     {each}" for each in weights.needed(job.spec, job.metrics)),
            f"candidates  {self._candidates()}; {self._searched()}",
            *self._low(),
            f"then        {self._finalists()} against the baseline (FreeU off){self._rivals()} on {held_out}",
            *self._few(),
            f"work        {self._work()}",
            *hardware.lines(job, self.seconds()[0], self.evaluations, self.per_image),
            *memory.lines(s, job.device.name, c.dtype),
            *self._kept(),
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
            "held_out": self.once(self.searched),
            "held_out_images": 0 if self.result is not None else self.confirmed,
        }
        told = [each.as_dict() for each in weights.needed(self.job.spec, self.job.metrics)]
        return {"study": self.job.config.name, **counts, **work, "settings": kept_settings(self.job), "weights": told}

    def show(self, console: Console) -> None:
        for line in self.lines():
            say(console, line, indent=12)

    def _judges(self) -> str:
        """What the confirmation alone reads."""
        found = ", ".join(f"{name} {ARROWS[direction]}" for name, direction in self.job.judges.items())
        if found:
            return f"{found}, which the search never reads"
        return "none: no second opinion on a gain (--judges; metrics.score --list)"

    def _prompts(self) -> str:
        steps = rungs.rungs(self.images) if self.job.config.racing else (self.images,)
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
        first += f", FreeU off at {self._tuned} other guidance scale{'s' * (self._tuned > 1)}" if self._tuned else ""
        first += f", {started} of other studies and presets" if started else ""
        first += f", {sobol} Sobol point{'s' * (sobol > 1)}" if sobol else ""
        return f"{first}, {rest} by {config.sampler}" if rest else first

    def _searched(self) -> str:
        """The version and convention, and what is searched beside the four factors."""
        space = self.job.space
        names = [each.name for each in space.dimensions]
        fixed = {name: value for name, value in space.fixed.items() if name not in ("version", "stages")}
        version, stages = (space.fixed.get(name, "v1 and v2") for name in ("version", "stages"))
        said = f"FreeU {version} by {'width and block' if 'stages' in names else stages}"
        said += "" if names == ["b1", "b2", "s1", "s2"] else f", searching {', '.join(names)}"
        return said + (f" with {', '.join(f'{name} {value:g}' for name, value in fixed.items())}" if fixed else "")

    def _like(self) -> list[str]:
        """What --like gave, and what of it could not be taken."""
        like, config = self.job.like, self.job.config
        if like is None:
            return []
        from freeu.presets.sampled import in_words

        model = f"; made with the model {shortened(like.model, 60)}" if like.model else ""
        used = any(origin.startswith("like:") for origin, _ in self.job.fixed)
        freeu = "" if like.factors is None else "; its FreeU factors come first"
        if like.factors is not None and not used:
            freeu = "; its FreeU factors are not in the space that is searched"
        said = in_words(like.sampling) or "no setting that is known"
        lines = [f"like        {config.like} of {like.tool}: {said}{model}{freeu}"]
        return [visible(line) for line in (*lines, *(f"not taken   {each}" for each in like.left_out))]

    def _low(self) -> list[str]:
        """Said where it is asked for."""
        low = self.job.low
        return [] if low is None else [f"first rung  {drafts.in_words(self.job, low)}"]

    def _finalists(self) -> str:
        n = self.job.config.finalists
        return "the best pick" if n == 1 else f"the {n} best picks"

    def _rivals(self) -> str:
        many = "their rivals" if self.job.config.finalists > 1 else "its rival"
        return f" and {many} (off at another guidance)" if self._tuned else ""

    def _few(self) -> list[str]:
        """Said before any image is drawn, where no outcome could count."""
        rows = (self.passes - 1) * len(self.job.directions)
        least = fewest(rows)
        if self.once(self.searched) >= least:
            return []
        return [f"warning     too few held-out prompts for {rows} comparisons: no difference can count below {least}"]

    def _kept(self) -> list[str]:
        """What the images take that are kept at their full size."""
        keep, s = self.job.config.keep_images, self.job.spec
        if keep == "small":
            return []
        n = self.confirmed + (self.job.config.trials * self.images if keep == "all" else 0)
        size = n * s.resolution**2 * s.frames * BYTES / 1e6
        which = "all images" if keep == "all" else "all held-out images"
        return [f"disk        about {_megabytes(size)} for {which}, full size and lossless (--keep-images)"]

    def pace(self) -> str:
        """What is said again where the workers run elsewhere than it seemed."""
        return f", not {'a GPU' if self.job.device.kind == 'cpu' else 'a CPU'} as it seemed: {self._work()}"

    def _work(self) -> str:
        seconds, measured = self.seconds()
        minutes = self.job.config.minutes
        limit = f", at most {minutes:g} minutes" if minutes is not None else ""
        how = "as measured here" if measured else "a rough guess: this model has not run here before"
        return f"{self.evaluations:,} U-Net evaluations, about {duration(seconds)} ({how}){limit}"


def _megabytes(size: float) -> str:
    return f"{size / 1000:.1f} GB" if size >= 1000 else f"{max(1, round(size))} MB"


def plan(job: Job) -> Plan:
    """The plan of a job, from where its study stands.

    Raises:
        UserError: the study was begun with other settings, or a first rung of cheaper images can't be.
    """
    check_resumable(job)
    drafts.check(job)
    return Plan(job, sum(record.complete for record in job.folder.read_trials()))
