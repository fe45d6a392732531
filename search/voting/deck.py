"""Which pair a voter sees next, and which image stands left: drawn from a seed, so a reload shows the same.

Pairs are dealt evenly over the comparisons. A voter gets prompts that nobody has judged before those that others have,
as votes on new prompts tell most; every fifth pair is one that others have judged, for the agreement between voters.
Every eleventh is one of the voter's own, mirrored, for the agreement with oneself.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from search.voting.ballots import Cast, Vote, key
from search.voting.comparisons import Comparison

AGAIN = 10  # fresh pairs for one that is shown again
SHARED = 5  # pairs for one that others have judged
APART = 5  # pairs at least between a pair and the same mirrored


@dataclass(frozen=True)
class Card:
    """A pair as one voter sees it. token: its name in the page, which doesn't tell what it shows."""

    comparison: Comparison
    row: int
    again: bool
    left: str
    token: str

    @property
    def key(self) -> str:
        return key(self.comparison.finalist, self.comparison.against, self.row, self.again)

    @property
    def right(self) -> str:
        names = (self.comparison.finalist, self.comparison.against)
        return names[names.index(self.left) - 1]


class Deck:
    """The cards of one study. seed: of the order, the sides and the tokens."""

    def __init__(self, comparisons: Sequence[Comparison], seed: str) -> None:
        self.comparisons, self.seed = tuple(comparisons), seed
        self._cards: dict[str, dict[str, Card]] = {}

    def cards(self, voter: str) -> dict[str, Card]:
        """All that a voter may get, by key, in the voter's own order."""
        if voter not in self._cards:
            each = [(c, row, again) for c in self.comparisons for row in c.rows for again in (False, True)]
            made = sorted((self._card(voter, *one) for one in each), key=lambda card: card.token)
            self._cards[voter] = {card.key: card for card in made}
        return self._cards[voter]

    def _card(self, voter: str, comparison: Comparison, row: int, again: bool) -> Card:
        name = key(comparison.finalist, comparison.against, row, False)
        first = self._number("side", voter, name) % 2
        left = (comparison.finalist, comparison.against)[first ^ again]
        return Card(comparison, row, again, left, f"{self._number('card', voter, name, str(again)):016x}")

    def named(self, voter: str, token: str) -> Card | None:
        """The voter's card of this token."""
        return next((card for card in self.cards(voter).values() if card.token == token), None)

    def next(self, voter: str, cast: Cast, closed: Collection[str] = ()) -> Card | None:
        """The voter's next card; None where all have been judged. closed: comparisons that take no more votes."""
        mine = cast.of(voter)
        fresh, repeats = [vote for vote in mine if not vote.again], sum(vote.again for vote in mine)
        if len(fresh) >= AGAIN * (repeats + 1) and (card := self._again(voter, fresh, mine)) is not None:
            return card
        votes = [vote for vote in cast.votes.values() if not vote.again]
        dealt, judged = Counter(f"{v.finalist}/{v.against}" for v in votes), Counter(vote.key for vote in votes)
        seen = {vote.key for vote in mine}
        cards = [
            card
            for key, card in self.cards(voter).items()
            if not card.again and key not in seen and card.comparison.name not in closed
        ]
        others = [card for card in cards if judged[card.key]] if len(fresh) % SHARED == SHARED - 1 else []
        return min(others or cards, key=lambda card: (dealt[card.comparison.name], judged[card.key]), default=None)

    def _again(self, voter: str, fresh: Sequence[Vote], mine: Sequence[Vote]) -> Card | None:
        """One of the voter's own, mirrored: none of the latest, and none twice."""
        cards, done = self.cards(voter), {vote.key for vote in mine}
        keys = [key(vote.finalist, vote.against, vote.row, True) for vote in fresh[:-APART]]
        there = [cards[each] for each in keys if each in cards and each not in done]
        return min(there, key=lambda card: card.token, default=None)

    def _number(self, *parts: str) -> int:
        return int.from_bytes(hashlib.sha256("\0".join([self.seed, *parts]).encode()).digest()[:8], "big")
