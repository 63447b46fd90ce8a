"""Spells any text as a table key, one to one; it knows nothing of what the keys mean."""

from __future__ import annotations

import string

from shared.errors import PermanentError

KEY_CHARS_MAX = 512  # a key holds 1 KiB, and each character takes two bytes there
# Table keys refuse / \ # ? and control characters, and % and ' are trouble in URLs; what is kept
# as it is covers every name and slice id that Ebb makes itself, so keys stay readable and in order.
_KEPT = frozenset(string.ascii_letters + string.digits + "-_.")


def key(text: str) -> str:
    """The text with everything unusual as `=XX` of its UTF-8 bytes."""
    spelt = "".join(c if c in _KEPT else _escaped(c) for c in text)
    if not spelt or len(spelt) > KEY_CHARS_MAX:
        raise PermanentError(
            f"naming a record: {text[:40]!r} takes {len(spelt)} characters as a table key, "
            f"and 1 to {KEY_CHARS_MAX} are allowed; use another name"
        )
    return spelt


def _escaped(character: str) -> str:
    return "".join(f"={byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
