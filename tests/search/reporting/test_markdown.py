"""A stranger's text in Markdown stays text."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from search.reporting.markdown import code, fenced, plain


@given(st.text(alphabet="`abc\n<", max_size=40))
def test_a_fence_is_closed_by_its_own_end_alone(text: str) -> None:
    first, *inside, last = fenced(text, "sh")
    assert first == last + "sh" and set(last) == {"`"} and len(last) >= 3
    assert not any(len(run) >= len(last) for line in inside for run in re.findall("`+", line))
    assert "\n".join(inside) == text


def test_known_values() -> None:
    assert fenced("a ``` b", "sh") == ["````sh", "a ``` b", "````"]
    assert plain("<img src=x> **now** [a](b)") == r"\<img src=x\> \*\*now\*\* \[a\]\(b\)"
    assert code("a`; touch x`") == "`a; touch x`"
    assert "\x1b" not in plain("\x1b[31mred") + code("\x1b[31m") + "".join(fenced("\x1b[2J", "sh"))
