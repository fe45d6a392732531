"""Do the votes' numbers keep their word? `python benchmarks/votes.py`, two minutes.

Three people with a true preference vote on a study's pairs as `search.vote` deals them: prompts differ in how clear
they are, each voter is careless in a tenth of the votes, and leans to the left in as many. Printed for each true win
rate (of votes as they are cast): how often the verdict says that one is preferred, and how often the 95 % interval
holds the truth; beside it the power that the start page promises for that many votes.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import Annotated

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
import pandas as pd
import typer

from search.voting.ballots import Cast, Vote
from search.voting.comparisons import Comparison
from search.voting.deck import Deck
from search.voting.looks import FRACTIONS, LEVEL, RATES, planned_votes
from search.voting.tally import decided, share

VOTERS = ("ann", "ben", "cy")
CARELESS, LEANING = 0.1, 0.1
CLEAR = 4.0
"""The sum of a Beta distribution's two numbers: of the prompts' own win rates, whose spread is 0.2."""
TIES = 0.1  # of a voter's attentive votes


def main(
    prompts: Annotated[int, typer.Option(min=6, help="Held-out prompts with images.")] = 135,
    runs: Annotated[int, typer.Option(min=1, help="Studies for each figure.")] = 600,
) -> None:
    """Simulate and print."""
    rng = np.random.default_rng(0)
    for rate, planned in [*((0.5, planned_votes(each)) for each in RATES[1:]), *((r, planned_votes(r)) for r in RATES)]:
        found = [simulated(rate, planned, prompts, rng) for _ in range(runs)]
        sure, covered, votes = (np.array(column, float) for column in zip(*found, strict=True))
        promised = "" if rate == 0.5 else " (80 % promised)"
        print(
            f"{100 * rate:.0f} %, {planned:3d} votes planned, {votes.mean():5.1f} cast: a verdict in {told(sure)}"
            f"{promised}, the interval holds the truth in {told(covered)}"
        )


def told(found: np.ndarray) -> str:
    """A share with its standard error."""
    share = found.mean()
    return f"{100 * share:.1f} ± {100 * np.sqrt(share * (1 - share) / len(found)):.1f} %"


def simulated(rate: float, planned: int, prompts: int, rng: np.random.Generator) -> tuple[bool, bool, int]:
    """One study: (whether one is preferred by its verdict, whether the interval holds the truth, votes)."""
    table = pd.DataFrame({"prompt": [f"prompt {i}" for i in range(prompts)], "seed": range(prompts)})
    comparison = Comparison("0001", "baseline", "knee (trial 1)", "baseline", (table, table), tuple(range(prompts)))
    deck, cast = Deck([comparison], str(rng.integers(2**32))), Cast(planned=planned)
    attentive = 0.5 + (rate - 0.5) / (1 - CARELESS - LEANING) / (
        1 - TIES
    )  # so that votes as they are cast have the rate
    clear = rng.beta(CLEAR * attentive, CLEAR * (1 - attentive), prompts)
    fresh: list[Vote] = []
    looks = {math.ceil(fraction * planned) for fraction in FRACTIONS}
    while len(fresh) < planned:
        if len(fresh) in looks and decided(fresh, planned, False, 1)["stopped"]:
            break
        voter = VOTERS[rng.integers(len(VOTERS))]
        card = deck.next(voter, cast)
        if card is None:
            break
        choice = chosen(card.left == "0001", clear[card.row], rng)
        vote = Vote(
            voter, "0001", "baseline", card.row, table["prompt"][card.row], card.row, card.left, choice, card.again,
            ("", ""), "",
        )  # fmt: skip
        cast.votes[voter, vote.key] = vote
        fresh += [] if vote.again else [vote]
    end = decided(fresh, planned, True, 1)
    found = share([vote.score for vote in fresh], [vote.prompt for vote in fresh])
    return end["p"] < LEVEL, found["low"] <= rate <= found["high"], len(fresh)


def chosen(finalist_left: bool, preferred: float, rng: np.random.Generator) -> str:
    """What a voter presses. preferred: how probably the finalist is."""
    mood = rng.random()
    if mood < CARELESS:
        return str(rng.choice(["left", "right"]))
    if mood < CARELESS + LEANING:
        return "left"
    if rng.random() < TIES:
        return "tie"
    return "left" if (rng.random() < preferred) == finalist_left else "right"


if __name__ == "__main__":
    typer.run(main)
