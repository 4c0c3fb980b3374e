from __future__ import annotations

import numpy as np
import pytest
from tests.features.explain.planted import contexts, is_word

from pellucid.features.explain import Context, Contexts, Pattern, Rule
from pellucid.features.explain.pattern import Clause, find_rule
from pellucid.features.explain.pattern.conditions import CLASSES, LISTS, Condition
from pellucid.features.explain.pattern.rule import ANY, BETWEEN, OPENING, PLACES
from pellucid.features.explain.pattern.table import TokenTable

PLANTED = {
    "a word": (is_word(" cat"), '" cat"', 0.97),
    "a class": (lambda texts: [text.strip().isdigit() for text in texts], "7", 0.97),
    "after": (lambda texts: [i > 0 and texts[i - 1] == " the" for i in range(len(texts))], "after", 0.97),
    "two words": (lambda texts: [text in (" cat", " mat") for text in texts], "mat", 0.97),
    "a pair": (lambda texts: [i > 0 and texts[i] == " x" and texts[i - 1] == "(" for i in range(len(texts))], "after", 0.95),
}


@pytest.mark.parametrize("name", PLANTED)
def test_planted_rules_are_found_and_hold_on_new_text(name):
    fires, inside, wanted = PLANTED[name]
    rule = find_rule(contexts("train", fires, 60, seed=1))
    assert inside in rule.text
    new = contexts("held_out", fires, 60, seed=2)
    right = [rule.fires(c.texts) for c in new.firing] + [not rule.fires(c.texts) for c in new.silent]
    assert np.mean(right) >= wanted
    tokens = [(rule.marks(c.texts) == (c.codes > 0)).mean() for c in new.firing]
    assert np.mean(tokens) > 0.95


def test_a_latent_that_fires_at_random_gets_a_short_rule_or_a_poor_one():
    generator = np.random.default_rng(0)
    shown = contexts("train", lambda texts: generator.random(len(texts)) < 0.1, 60, seed=1)
    new = contexts("held_out", lambda texts: generator.random(len(texts)) < 0.1, 100, seed=2)
    rule = find_rule(shown)
    right = [rule.fires(c.texts) for c in new.firing] + [not rule.fires(c.texts) for c in new.silent]
    assert abs(np.mean(right) - 0.5) < 0.12


def test_the_same_contexts_give_the_same_text():
    shown = contexts("train", is_word(" dog"), 30)
    assert Pattern().explain(shown) == Pattern().explain(shown)


def test_the_table_agrees_with_asking_every_token():
    shown = contexts("train", is_word(" cat"), 2)
    table = TokenTable(shown.all)
    for place in PLACES:
        for targets in (np.ones_like(table.codes, bool), table.codes > 0):
            found = table.anywhere(place, targets)
            for number, condition in enumerate(table.conditions):
                clause = Clause(((place, condition),))
                naive = [bool((clause.marks(c.texts) & row).any()) for c, row in zip(shown.all, targets, strict=True)]
                assert found[number].tolist() == naive, (place, condition)
            assert (table.holds(0, place)[0] == Clause(((place, table.conditions[0]),)).marks(shown.all[0].texts)).all()


HOSTILE = ["<script>alert(1)</script>", "\u202egnirts", "\U0001f600", "\x00", "\x1b[31m", '"; or "', "\\", " or ", "\ud800"]


def random_rule(generator):
    def condition():
        if generator.random() < 0.3:
            return Condition("class", tuple(generator.permutation(list(CLASSES))[:2].tolist()))
        codes = generator.choice([generator.integers(0, 0x300), generator.integers(0x1F000, 0x1FFFF)], size=3)
        texts = [*(chr(int(code)) for code in codes), *HOSTILE, " the"]
        chosen = generator.permutation(len(texts))[: generator.integers(1, 4)]
        return Condition(str(generator.choice(list(LISTS))), tuple(texts[int(i)] for i in chosen))

    def clause():
        places = [place for place in PLACES if generator.random() < 0.6] or ["next"]
        return Clause(tuple((place, condition()) for place in places))

    return Rule(tuple(clause() for _ in range(generator.integers(0, 4))))


def test_every_rule_is_its_text():
    generator = np.random.default_rng(0)
    for _ in range(200):
        rule = random_rule(generator)
        assert Rule.parse(rule.text) == rule
        assert rule.text.isprintable()


@pytest.mark.parametrize("text", ["", "It fires on cats", OPENING, OPENING + "a zebra", OPENING + '"a" after', OPENING + '"a'])
def test_other_texts_are_no_rules(text):
    assert Rule.parse(text) is None


def test_no_name_of_a_class_can_be_taken_for_grammar():
    for name in CLASSES:
        assert '"' not in name and " or " not in name and name != ANY and BETWEEN not in name
        assert not any(join.strip() and join in f" {name} " for join in PLACES.values())


def test_hostile_tokens_are_explained_and_marked():
    fires = is_word("\u202egnirts")
    shown = contexts("train", fires, 30, words=[*HOSTILE, " a", " b"])
    rule = find_rule(shown)
    assert rule.text.isprintable() and Rule.parse(rule.text) == rule
    new = contexts("held_out", fires, 30, words=[*HOSTILE, " a", " b"], seed=3)
    assert all(rule.fires(c.texts) for c in new.firing) and not any(rule.fires(c.texts) for c in new.silent)


def test_short_contexts_are_padded_with_nothing():
    long = Context("train", 0, 0, (" a", " b", " c"), np.array([0, 1, 0], np.float32))
    short = Context("train", 1, 0, (" c",), np.array([0], np.float32))
    table = TokenTable(Contexts([long] * 3, [short] * 3).all)
    assert not table.anywhere("next", np.ones_like(table.codes, bool))[:, 3:].any()
    assert find_rule(Contexts([long] * 3, [short] * 3)).fires(long.texts)
