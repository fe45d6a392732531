"""Renders search/reporting/templates: everything is escaped, and control characters are made visible."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from configs.cli import visible
from search.voting.wording import p_value

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup


def environment() -> jinja2.Environment:
    """The environment, with its filters. An undefined name is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("search.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_seen,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}
    made.filters |= {"number": _number, "rounded": rounded, "signed": signed, "percent": _percent, "p": p_value}
    made.filters["prose"] = _prose
    return made


def source(name: str) -> str:
    """A file of search/reporting/templates as it stands."""
    made = environment()
    assert made.loader is not None
    return made.loader.get_source(made, name)[0]


def rounded(value: float, error: float | None, sign: bool = False) -> str:
    """As many decimals as give the error two digits; four digits where there is none. A true minus."""
    if error is None or not math.isfinite(error) or error <= 0:
        return f"{value:{'+' if sign else ''}.4g}".replace("-", "−")
    decimals = min(9, max(0, 1 - math.floor(math.log10(error))))
    return f"{value:{'+' if sign else ''}.{decimals}f}".replace("-", "−")


def signed(value: float) -> str:
    """Three digits and the sign, a true minus."""
    return f"{value:+.3g}".replace("-", "−")


def _seen(value: Any) -> Any:
    """What a template shows, its control characters made visible; None is nothing. Markup stays as it is."""
    if value is None:
        return ""
    return visible(value) if type(value) is str else value


def _prose(text: str) -> Markup:
    """Sentences in which no flag, as --space, is broken at the end of a line: a browser may break behind any hyphen."""
    from markupsafe import Markup, escape

    plain = str(escape(visible(text)))
    return Markup(re.sub(r"(?<![\w-])--[a-z][a-z0-9-]*", r'<span class="flag">\g<0></span>', plain))


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
