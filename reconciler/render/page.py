"""Owns how a self-contained page is made: escaping, its stylesheet, and the policy that lets nothing else in.

What a page shows is left to the module beside its template.
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
    """Geometry of our own making: as long as it is, it is printed whole; names are cut and made safe."""

    __slots__ = ()


def render_page(template: str, stylesheets: tuple[str, ...], values: Mapping[str, Any]) -> str:
    """Fill a template; it gets ``css``, the ``style_hash`` for its security policy, and ``words`` besides."""
    css = _css(stylesheets)
    digest = base64.b64encode(hashlib.sha256(css.encode()).digest()).decode()
    found = _environment().get_template(template)
    return found.render(css=css, style_hash=f"sha256-{digest}", words=words, **values)


@cache
def _css(stylesheets: tuple[str, ...]) -> Markup:
    """Printed as it is: the hash in the security policy is over these very characters."""
    from markupsafe import Markup  # noqa: PLC0415 - comes with jinja2

    sources = (_loader().get_source(_environment(), name)[0].strip() for name in stylesheets)
    return Markup("\n".join(sources))  # noqa: S704 - our own files, no foreign text


def _loader() -> jinja2.BaseLoader:
    import jinja2  # noqa: PLC0415 - costly, and only a page needs it

    return jinja2.PackageLoader("reconciler", "render")


@cache
def _environment() -> jinja2.Environment:
    import jinja2  # noqa: PLC0415 - costly, and only a page needs it

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
    """Every text that the page prints, made safe once more; escaping for HTML follows."""
    return safe_text(value) if type(value) is str else value
