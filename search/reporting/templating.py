"""Renders search/reporting/templates: everything is escaped, and control characters are made visible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from configs.cli import visible

if TYPE_CHECKING:
    import jinja2


def environment() -> jinja2.Environment:
    """The environment, with the filters number, signed and percent. An undefined name in a template is an error."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.PackageLoader("search.reporting"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        finalize=_seen,
    )
    made.policies["json.dumps_kwargs"] = {"sort_keys": False}
    made.filters |= {"number": _number, "signed": signed, "percent": _percent}
    return made


def source(name: str) -> str:
    """A file of search/reporting/templates as it stands."""
    made = environment()
    assert made.loader is not None
    return made.loader.get_source(made, name)[0]


def signed(value: float) -> str:
    """Three digits and the sign, a true minus."""
    return f"{value:+.3g}".replace("-", "−")


def _seen(value: Any) -> Any:
    """What a template shows, its control characters made visible; None is nothing. Markup stays as it is."""
    if value is None:
        return ""
    return visible(value) if type(value) is str else value


def _number(value: float) -> str:
    return f"{value:.4g}".replace("-", "−")


def _percent(value: float) -> str:
    return f"{100 * value:.0f} %"
