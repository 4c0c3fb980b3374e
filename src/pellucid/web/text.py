"""Text from data made visible and harmless: what a reader sees is what the token holds."""

from __future__ import annotations

import unicodedata

NEWLINE, TAB, SPACE = "\u21b5", "\u21e5", "\u00b7"
HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
"""Unicode categories without a picture of their own: control, direction marks, surrogates, unassigned."""


def visible(text: object) -> str:
    """Return text with every character that could hide, reorder or break a page shown as <U+XXXX>.

    Ordinary spaces stay, others (no-break, thin, ...) are shown so too. Newlines and tabs become their signs.
    """
    return "".join(_visible(character) for character in str(text))


def chip(token: str) -> str:
    """Return a token standing alone: leading and trailing spaces shown as dots, an empty token as a sign."""
    inner = token.strip(" ")
    if not inner:
        return SPACE * len(token) or "(empty)"
    start = len(token) - len(token.lstrip(" "))
    return SPACE * start + visible(inner) + SPACE * (len(token) - len(inner) - start)


def in_line(token: str) -> str:
    """Return a token as part of running text: spaces stay unless they are all of it."""
    return SPACE * len(token) if token and not token.strip(" ") else visible(token)


def _visible(character: str) -> str:
    if character == "\n":
        return NEWLINE
    if character == "\t":
        return TAB
    category = unicodedata.category(character)
    if category in HIDDEN or (category == "Zs" and character != " "):
        return f"<U+{ord(character):04X}>"
    return character
