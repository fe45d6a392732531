"""The embedded model's scores at any factors, from the table that benchmarks/record.py made: no image is generated.

What an image scores is a smooth function of the factors plus what is that image's own. The smooth part is a Gaussian
process' mean, one for all images, fitted to the table; the rest is taken over from the nearest candidate of the table.
So a replayed candidate has the noise of a real one, and a candidate of the table has its recorded scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize

from freeu import Candidate, Factors
from metrics.encoders import Encoder
from metrics.fid import Fid
from metrics.reference import Reference
from search.evaluation import Evaluation, Task
from search.evaluation.evaluator import value_of
from search.optimizer.dimension import NUMBERS
from search.optimizer.space_file import default

TABLE = Path(__file__).parent / "data" / "shapes.npz"
MEANS = ("clip", "aesthetic")
DIRECTIONS = {"clip": "up", "aesthetic": "up", "fid": "down"}
SEARCH, TRUE = 0, 1  # the table's two runs of each prompt


@dataclass(frozen=True)
class Mean:
    """A metric that has a score for each image, as far as its value goes."""

    name: str
    per_image: bool = True
    direction: str = "up"


class Replay:
    """Evaluates a task of the search as a worker would, and knows what is true."""

    def __init__(self, file: Path, reference: Reference) -> None:
        """reference: what the model's Fréchet distance compares with."""
        with np.load(file) as table:
            self._factors = table["factors"]
            self._images = {name: table[name].astype(float) for name in (*MEANS, "features")}
            self.prompts = [str(text) for text in table["prompts"]]
        self._fid = Fid(Encoder("none", "none", lambda part: part), reference)
        self._metrics = {**{name: Mean(name) for name in MEANS}, "fid": self._fid}
        self._points = np.array([default().unit(Candidate(Factors(*each))) for each in self._factors])
        self._length, self._noise = self._fitted()

    @property
    def count(self) -> int:
        """Candidates of the table."""
        return len(self._factors)

    @cached_property
    def _true_scores(self) -> np.ndarray:
        """(candidates, objectives) on the run that no search sees."""
        means = [self._images[name][:, TRUE].mean(1) for name in MEANS]
        return np.stack([*means, [self._fid.distance(each) for each in self._images["features"][:, TRUE]]], axis=1)

    def truth(self, factors: Factors) -> np.ndarray:
        """What the factors are worth: (objectives,), all to be maximised, by the held-out run's smooth part."""
        scores = self._weights(factors) @ (self._true_scores - self._true_scores.mean(0)) + self._true_scores.mean(0)
        return scores * [1, 1, -1]

    def all_truths(self) -> np.ndarray:
        """(candidates, objectives) of the table, all to be maximised."""
        return np.stack([self.truth(Factors(*each)) for each in self._factors])

    def __call__(self, task: Task) -> Evaluation:
        """As an `Evaluator`'s, of images that are not there."""
        found, n = self._at(task.candidate.factors, task.end), task.end
        table = pd.DataFrame({"prompt": self.prompts[:n], "seed": 0, **{name: found[name] for name in MEANS}})
        features = {"fid": found["features"]}
        values = {name: value_of(metric, table, features, task.base) for name, metric in self._metrics.items()}
        return Evaluation(values, n, table, features, seconds={"total": float(n)}, unet_evaluations=n)

    def _at(self, factors: Factors, n: int) -> dict[str, np.ndarray]:
        weights = self._weights(factors)
        nearest = int(np.square(self._points - default().unit(Candidate(factors))).sum(1).argmin())
        own = self._weights(Factors(*self._factors[nearest]))
        found = {}
        for name, table in self._images.items():
            part = table[:, SEARCH, :n]
            mean = part.mean(0)
            smooth = np.tensordot(weights - own, part - mean, 1)
            found[name] = part[nearest] + smooth
        return found

    def _weights(self, factors: Factors) -> np.ndarray:
        """By which the table's rows, less their mean, add up to the smooth part at these factors: (candidates,)."""
        point = np.array(default().unit(Candidate(factors)))
        return np.asarray(self._solved @ self._kernel(point[None], self._points)[0])

    @cached_property
    def _solved(self) -> np.ndarray:
        whole = self._kernel(self._points, self._points) + self._noise * np.eye(self.count)
        return np.asarray(cho_solve(cho_factor(whole, lower=True), np.eye(self.count)))

    def _kernel(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        square = (((a[:, None] - b[None]) / self._length) ** 2).sum(-1)
        root = np.sqrt(5 * square)
        return np.asarray((1 + root + 5 * square / 3) * np.exp(-root))  # Matérn 5/2

    def _fitted(self) -> tuple[np.ndarray, float]:
        """Lengths and noise by the marginal likelihood of the held-out scores, each scaled to variance 1."""
        y = self._true_scores
        y = (y - y.mean(0)) / y.std(0)

        def loss(theta: np.ndarray) -> float:
            self._length = np.exp(theta[:4])
            whole = self._kernel(self._points, self._points) + np.exp(theta[4]) * np.eye(self.count)
            factor = cho_factor(whole, lower=True)
            signal = (y * cho_solve(factor, y)).sum(0) / self.count
            return float(y.shape[1] * np.log(np.diag(factor[0])).sum() + self.count / 2 * np.log(signal).sum())

        start = np.log([0.5, 0.5, 0.5, 0.5, 0.1])
        bounds = [(np.log(0.05), np.log(10.0))] * 4 + [(np.log(1e-4), np.log(10.0))]
        best = minimize(loss, start, bounds=bounds, method="L-BFGS-B", options={"maxiter": 30}).x
        return np.exp(best[:4]), float(np.exp(best[4]))


def numbers(factors: Factors) -> list[float]:
    """The four."""
    return [getattr(factors, name) for name in NUMBERS]
