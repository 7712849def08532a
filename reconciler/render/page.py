"""Renders self-contained pages: escaping, the stylesheet, and a content security policy that allows nothing else.

The module with the name of the template decides what a page shows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any

from reconciler.render import words
from reconciler.safe_text import safe_text

if TYPE_CHECKING:
    import jinja2
    from markupsafe import Markup

NAME_LENGTH = 160


class Drawn(str):
    """Geometry that we computed: printed as it is, while texts are escaped and limited in length."""

    __slots__ = ()


def render_page(template: str, stylesheets: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """Render a template with ``values``, ``css``, the ``style_hash`` for the security policy, and ``words``."""
    css = _css(stylesheets)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    loaded = _environment().get_template(template)
    return loaded.render(css=css, style_hash=f"sha256-{digest}", words=words, **values)


@cache
def _css(stylesheets: tuple[str, ...]) -> Markup:
    """Not escaped: the hash in the security policy must match exactly these characters."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with jinja2

    sources = (_loader().get_source(_environment(), name)[0].strip() for name in stylesheets)
    return Markup("\n".join(sources))  # noqa: S704 - only our own files


def _loader() -> jinja2.BaseLoader:
    import jinja2  # noqa: PLC0415 - slow to import, and only pages need it

    return jinja2.PackageLoader("reconciler", "render")


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - slow to import, and only pages need it

    environment = jinja2.Environment(
        loader=_loader(),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_safe,
    )
    environment.filters["name"] = lambda text: words.shortened(safe_text(text), NAME_LENGTH) or "(empty)"
    return environment


def _safe(value: object) -> object:
    """Make every printed text safe again; autoescape then escapes it for HTML."""
    return safe_text(value) if type(value) is str else value
