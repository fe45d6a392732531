"""Where votes are cast: the next pair for a voter, their vote, taking it back, the result. Knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from configs import UserError
from configs.cli import UNSEEN
from search.storage import StudyFolder
from search.storage.files import write_json
from search.voting import comparisons as compared
from search.voting import wording
from search.voting.ballots import CHOICES, Ballots, Vote
from search.voting.deck import Card, Deck
from search.voting.looks import LEVEL, RATES, planned_votes, votes_needed
from search.voting.tally import closed, tally

LONGEST = 40  # characters of a voter's name
UNSURE_SECONDS = 3600.0  # a pair that was looked at for longer was not looked at


class Booth:
    """Votes on one finished study. Several may be open at once on the same study, in other processes too."""

    def __init__(self, folder: StudyFolder, result: Mapping[str, Any], rate: float | None = None) -> None:
        """rate: the win rate that the votes are to show, from 0.5 to 1; it is fixed by whoever begins.

        Raises UserError where there is nothing to vote on, or the votes were begun for another rate.
        """
        self.folder, self.result = folder, result
        self.comparisons = compared.to_vote_on(folder, result)
        self.study = compared.stamp(folder, result)
        self.ballots = ballots(folder)
        self.deck = Deck(self.comparisons, self.study)
        before = self.ballots.read().planned
        wanted = planned_votes(rate or RATES[1], LEVEL / len(self.comparisons))
        self._record()  # of votes that an older version took, or that are gone
        self.planned = before if rate is None and before is not None else self.ballots.plan(wanted)
        if rate is not None and self.planned != wanted:
            raise UserError(
                f"--win-rate {rate:g} takes {wanted} votes for each comparison, and the votes in {self.ballots.file} "
                f"were begun with {self.planned}: leave it out, or move that file away to begin anew"
            )

    def needed(self, rate: float) -> int:
        """Votes for each comparison that show a true win rate, after the correction for all comparisons."""
        return votes_needed(rate, LEVEL / len(self.comparisons))

    def rates(self) -> list[tuple[float, int]]:
        """(a true win rate, the votes for each comparison that show it)."""
        return [(rate, self.needed(rate)) for rate in RATES]

    @property
    def fewest_prompts(self) -> int:
        """That a comparison has images of."""
        return min(each.prompts for each in self.comparisons)

    def state(self, voter: str, more: bool = False, card: Card | None = None) -> dict[str, Any]:
        """What the page shows next. more: go on beyond the planned votes; card: this one, where it is not judged."""
        cast = self.ballots.read()
        told = self.told()
        mine, total = cast.of(voter), self.planned * len(self.comparisons)
        state: dict[str, Any] = {
            "study": self.folder.name,
            "comparisons": len(self.comparisons),
            "planned": self.planned,
            "needed": {f"{100 * rate:.0f} %": n for rate, n in self.rates()},
            "prompts": self.fewest_prompts,
            "total": total,
            "left": max(0, total - told["votes"]),
            "mine": len(mine),
            "over": told["over"],
        }
        if told["over"]:
            said = {
                f"{row['finalist']}/{row['against']}": wording.p_value(row.get("p_holm")) for row in told["comparisons"]
            }
            return state | {
                "result": told,
                "verdict": "\n".join(wording.verdicts(self.result, told)),
                "p": said,
                "notes": wording.lines(told),
            }
        if state["left"] or more:
            shut = closed(self.folder, cast, self.comparisons, self.study)
            card = card or self.deck.next(voter, cast, shut)
            state["card"] = None if card is None else self._shown(card)
        return state

    def told(self) -> dict[str, Any]:
        """What the votes say so far; without scores before the end."""
        return tally(self.folder, self.ballots.read(), self.comparisons, self.study, self.result["objectives"])

    def vote(self, voter: str, token: str, choice: str, seconds: float, prompt_shown: bool) -> bool:
        """Cast it. False where it has been cast before. Raises UserError for what is no vote."""
        card = self._card(voter, token)
        if choice not in CHOICES:
            raise UserError(f"a vote is one of {', '.join(CHOICES)}")
        table = card.comparison.tables[0]
        names = (card.comparison.finalist, card.comparison.against)
        digests = [compared.image_digest(self.folder.held_out_image(name, card.row)) for name in names]
        if not all(digests):
            raise UserError("an image of this pair was deleted: load the page again")
        cast = self.ballots.cast(
            Vote(
                voter,
                *names,
                card.row,
                str(table["prompt"].iloc[card.row]),
                int(table["seed"].iloc[card.row]),
                card.left,
                choice,
                card.again,
                (digests[0], digests[1]),
                self.study,
                seconds=round(min(max(seconds, 0.0), UNSURE_SECONDS), 1),
                prompt_shown=prompt_shown,
            )
        )
        self._record()
        return cast

    def undo(self, voter: str, token: str | None = None) -> Card | None:
        """Take the voter's latest vote back, and give its pair; None where there is none. token: of the pair that the
        page takes for the latest: another one is not taken back, as where a click came twice."""
        mine = self.ballots.read().of(voter)
        card = self.deck.cards(voter).get(mine[-1].key) if mine else None
        if card is None or (token is not None and card.token != token):
            return None
        self.ballots.undo(voter, card.key)
        self._record()
        return card

    def end(self, voter: str) -> None:
        """Show the result: no vote counts after it."""
        self.ballots.end(voter)
        self._record()

    def image(self, voter: str, token: str, side: str) -> Path:
        """The file of one side of a pair. Raises UserError where there is none."""
        card = self._card(voter, token)
        return self.folder.held_out_image(card.left if side == "left" else card.right, card.row)

    def _record(self) -> None:
        """Bring result.json to what the votes say. While the study runs again it is that run's, whose end does it."""
        if not self.told()["over"] and "votes" not in (self.folder.read_result() or {}):
            return
        with self.ballots.held(), suppress(UserError, OSError), self.folder.locked():
            now = self.folder.read_result()
            if now is not None and now != (then := with_votes(self.folder, now)):
                write_json(self.folder.result, then)

    def _card(self, voter: str, token: str) -> Card:
        card = self.deck.named(voter, token)
        if card is None:
            raise UserError("this pair is not of this study: load the page again")
        return card

    def _shown(self, card: Card) -> dict[str, Any]:
        return {"token": card.token, "prompt": str(card.comparison.tables[0]["prompt"].iloc[card.row])}


def ballots(folder: StudyFolder) -> Ballots:
    """The votes of a study."""
    return Ballots(folder.root / "votes.jsonl")


def told(folder: StudyFolder, result: Mapping[str, Any]) -> dict[str, Any] | None:
    """What the votes on a study say (`tally`); None where nobody has voted."""
    found = ballots(folder)
    if not found.file.exists() or not (cast := found.read()).votes:
        return None
    study, objectives = compared.stamp(folder, result), result["objectives"]
    return tally(folder, cast, compared.comparisons(folder, result), study, objectives)


def with_votes(folder: StudyFolder, result: Mapping[str, Any]) -> dict[str, Any]:
    """A study's result with the persons' verdict (`votes`: what `tally` found, and `verdict`), where voting is over."""
    found = told(folder, result)
    rest = {name: value for name, value in result.items() if name != "votes"}
    if found is None or not found["over"] or not found["votes"]:
        return rest
    return rest | {"votes": {"verdict": wording.people(found), **found}}


def checked_name(name: str) -> str:
    """A voter's name without spaces around it. Raises UserError for one that can't be shown."""
    name = name.strip()
    if not name or len(name) > LONGEST or UNSEEN.search(name):
        raise UserError(f"a voter's name has 1 to {LONGEST} letters that can be seen")
    return name
