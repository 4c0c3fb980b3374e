"""What a rule can say of one token: its text, its word, its affixes, its class."""

from __future__ import annotations

import functools
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass

AFFIX_LENGTHS = (2, 3, 4)
"""Characters of the prefixes and suffixes that a search tries."""


QUOTES = set("\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb")

CLASSES: dict[str, Callable[[str], bool]] = {
    "a number": lambda text: text.strip().isdigit(),
    "a token with a digit": lambda text: any(c.isdigit() for c in text),
    "punctuation": lambda text: bool(text.strip()) and not any(c.isalnum() for c in text),
    "an opening bracket": lambda text: bool(text.strip()) and unicodedata.category(text.strip()[-1]) == "Ps",
    "a closing bracket": lambda text: bool(text.strip()) and unicodedata.category(text.strip()[0]) == "Pe",
    "a quotation mark": lambda text: (
        bool(text.strip()) and set(text.strip()) <= set("\"'`\u2018\u2019\u201c\u201d\u00ab\u00bb")
    ),
    "a sentence mark": lambda text: text.strip() in {".", "!", "?", ":", ";", ","},
    "a capitalised word": lambda text: text.strip()[:1].isupper() and not text.strip()[1:].isupper() and len(text.strip()) > 1,
    "a word in capitals": lambda text: text.strip().isupper() and len(text.strip()) > 1 and text.strip().isalpha(),
    "a word in small letters": lambda text: text[:1] == " " and text.strip().isalpha() and text.strip().islower(),
    "a piece inside a word": lambda text: text.isalpha() and text.islower(),
    "a single letter": lambda text: len(text.strip()) == 1 and text.strip().isalpha(),
    "a token with an underscore": lambda text: "_" in text,
    "blank space": lambda text: text.isspace(),
    "a line break": lambda text: "\n" in text,
    "a token outside ASCII": lambda text: not text.isascii(),
}
"""Character classes by the phrase that names them; no phrase holds a word that joins conditions."""

FINEST = (
    "a number", "a token with a digit", "an opening bracket", "a closing bracket", "a quotation mark", "a sentence mark",
    "a line break", "blank space", "a token with an underscore", "punctuation", "a word in capitals", "a capitalised word",
    "a single letter", "a word in small letters", "a piece inside a word", "a token outside ASCII",
)  # fmt: skip
"""Classes in the order in which the first that a token belongs to says most of it."""

LISTS = {
    "is": "",
    "word": "the word ",
    "starts": "a token that starts with ",
    "ends": "a token that ends with ",
}
"""What stands before the quoted texts of a condition, by kind."""


KINDS = ("class", "starts", "ends", "word", "is")
"""Kinds of conditions, from wide to exact."""


@dataclass(frozen=True, order=True)
class Condition:
    """A test of one token's text.

    Kinds: `is` (the exact text), `word` (the text without outer spaces, in any case), `starts` and `ends` (of that word),
    `class` (a name in CLASSES). Several values mean that one of them holds.
    """

    kind: str
    values: tuple[str, ...]

    def holds(self, text: str) -> bool:
        """Return whether a token passes."""
        if self.kind == "class":
            return any(CLASSES[value](text) for value in self.values)
        if self.kind == "is":
            return text in self.values
        word = as_word(text)
        if self.kind == "word":
            return word in self.values
        return word.startswith(self.values) if self.kind == "starts" else word.endswith(self.values)

    @property
    def exactness(self) -> tuple[int, int]:
        """How little the condition lets through: its kind, and among classes the place in FINEST."""
        return KINDS.index(self.kind), -min(map(FINEST.index, self.values)) if self.kind == "class" else 0

    @property
    def text(self) -> str:
        """Return the phrase a person reads."""
        if self.kind == "class":
            return " or ".join(self.values)
        return LISTS[self.kind] + " or ".join(quoted(value) for value in self.values)


def finest_class(text: str) -> str | None:
    """Return the class that says most of a token; None if it belongs to none."""
    return next((name for name in FINEST if CLASSES[name](text)), None)


def as_word(text: str) -> str:
    """Return a token's text without outer spaces, lower case; blank tokens stay as they are."""
    return text.strip().lower() or text


def quoted(text: str) -> str:
    """Return the text in double quotes; what does not print (control, direction marks, line breaks) as an escape."""
    plain = json.dumps(text, ensure_ascii=False)
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in plain)


@functools.lru_cache(1 << 16)
def conditions_of(text: str) -> tuple[Condition, ...]:
    """Return every condition with one value that a token passes, as far as a search tries them."""
    word = as_word(text)
    found = [Condition("is", (text,))]
    if word.isalnum():
        found.append(Condition("word", (word,)))
    for length in AFFIX_LENGTHS:
        if len(word) > length and word.isalnum():
            found += [Condition("starts", (word[:length],)), Condition("ends", (word[-length:],))]
    found += [Condition("class", (name,)) for name, holds in CLASSES.items() if holds(text)]
    return tuple(found)


def read_condition(phrase: str, strings: list[str]) -> Condition | None:
    """Return the condition of a phrase whose quoted texts were replaced by `\\x00number\\x00`; None if it is none."""
    parts = phrase.split(" or ")
    if all(part in CLASSES for part in parts):
        return Condition("class", tuple(parts))
    for kind, head in sorted(LISTS.items(), key=lambda item: -len(item[1])):
        if phrase.startswith(head):
            places = [re.fullmatch("\x00(\\d+)\x00", part) for part in phrase.removeprefix(head).split(" or ")]
            if all(places):
                return Condition(kind, tuple(strings[int(place[1])] for place in places if place))
    return None
