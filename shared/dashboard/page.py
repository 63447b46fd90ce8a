"""Joins the dashboard's HTML, style and script into one page and says what a browser may do there.

It knows no migration: the script asks the other routes for everything it shows.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    body: bytes
    headers: Mapping[str, str]


@cache
def page() -> Page:
    """The same page for everybody, read once."""
    style, script = _text("style.css"), _text("script.js")
    text = _text("page.html").replace("/*style*/", style).replace("/*script*/", script)
    policy = {
        "default-src": "'none'",
        "style-src": _hashed(style),
        "script-src": _hashed(script),
        "connect-src": "'self'",
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    headers = {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "Cache-Control": "no-cache",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
    }
    return Page(body=text.encode(), headers=headers)


def _text(name: str) -> str:
    return files(__package__).joinpath(name).read_text("utf-8")


def _hashed(inline: str) -> str:
    """The one inline block that is meant, and no other."""
    digest = hashlib.sha256(inline.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"
