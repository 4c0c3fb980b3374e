"""Tokens shown as they are, and harmless."""

from __future__ import annotations

import pytest

from pellucid.web.text import chip, in_line, visible


@pytest.mark.parametrize(
    ("token", "shown"),
    [
        ("\n", "\u21b5"),
        ("a\tb", "a\u21e5b"),
        ("\u202eevil", "<U+202E>evil"),
        ("\x00\x1b[2J", "<U+0000><U+001B>[2J"),
        ("\ud800", "<U+D800>"),
        (" caf\u00e9 \u4f60", " caf\u00e9 \u4f60"),
    ],
)
def test_characters_without_a_picture_are_named(token, shown):
    assert visible(token) == shown


def test_spaces_round_a_token_standing_alone_are_dots():
    assert chip(" the") == "\u00b7the"
    assert chip("  a b ") == "\u00b7\u00b7a b\u00b7"
    assert chip("   ") == "\u00b7\u00b7\u00b7"
    assert chip("") == "(empty)"


def test_spaces_in_running_text_stay_unless_they_are_all():
    assert in_line(" the") == " the"
    assert in_line("  ") == "\u00b7\u00b7"
    assert in_line("") == ""
