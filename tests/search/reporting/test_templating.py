"""What templates show: a flag in a sentence is never broken, and nothing in it is markup."""

from __future__ import annotations

import pytest

from search.reporting.templating import environment


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("Give --space FILE.", 'Give <span class="flag">--space</span> FILE.'),
        ("none (--no-guardrails)", 'none (<span class="flag">--no-guardrails</span>)'),
        ("a--b, <i>, -5 -- 3", "a--b, &lt;i&gt;, -5 -- 3"),
        ("--x<b>", '<span class="flag">--x</span>&lt;b&gt;'),
    ],
)
def test_a_flag_is_one_piece(said: str, shown: str) -> None:
    assert environment().from_string("{{ said|prose }}").render(said=said) == shown
