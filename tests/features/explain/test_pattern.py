from __future__ import annotations

import numpy as np
import pytest
from tests.features.explain.planted import contexts, is_word

from pellucid.features.explain import Context, Contexts, Pattern, Rule
from pellucid.features.explain.pattern import FULL, Clause, SearchConfig, find_rule
from pellucid.features.explain.pattern.choice import accuracy
from pellucid.features.explain.pattern.conditions import CLASSES, LISTS, Condition, as_word, finest_class
from pellucid.features.explain.pattern.graded import SHRINK, Named, Names, Sample, rounded
from pellucid.features.explain.pattern.rule import ANY, BETWEEN, OPENING, PLACES
from pellucid.features.explain.pattern.search import joined
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
    tokens = [((rule.counts(c.texts) == FULL) == (c.codes > 0)).mean() for c in new.firing]
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
                naive = [bool((clause.holds(c.texts) & row).any()) for c, row in zip(shown.all, targets, strict=True)]
                assert found[number].tolist() == naive, (place, condition)
            assert (table.holds(0, place)[0] == Clause(((place, table.conditions[0]),)).holds(shown.all[0].texts)).all()


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
        places = [place for place in PLACES if generator.random() < 0.6]
        return Clause(tuple((place, condition()) for place in places), int(generator.choice([FULL, FULL, 50, 3, 0])))

    return Rule(tuple(clause() for _ in range(generator.integers(0, 4))))


def test_every_rule_is_its_text():
    generator = np.random.default_rng(0)
    for _ in range(200):
        rule = random_rule(generator)
        again = Rule.parse(rule.text)
        assert again.text == rule.text and sorted(again.clauses, key=repr) == sorted(rule.clauses, key=repr)
        texts = [*HOSTILE, " the", "a", "7", "(", " the"]
        assert (again.counts(texts) == rule.counts(texts)).all() and (rule.counts(texts) == naive_counts(rule, texts)).all()
        assert rule.text.isprintable()


def naive_counts(rule, texts):
    found = []
    for i in range(len(texts)):
        held = [clause for clause in rule.clauses if clause.holds(texts)[i]]
        found.append(max(((clause.specificity, clause.percent) for clause in held), default=(None, 0))[1])
    return np.array(found)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "It fires on cats",
        OPENING,
        OPENING + "on a zebra",
        OPENING + 'on "a" after',
        OPENING + 'on "a',
        OPENING + 'at % on "a"',
    ],
)
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


def test_the_most_specific_clause_decides_and_parts_add_up():
    rule = Rule.parse(
        'Fires at 50 % on punctuation; or " cat"; at 25 % on the word "cat"; or an opening bracket; not on " cat" after " the"'
    )
    assert rule.counts([" cat", " the", " cat", "cat", "(", "."]).tolist() == [50, 0, 0, 25, 25, 50]
    assert rule.fires([" cat", "."]) and rule.fires(["cat"] * 4) and not rule.fires(["cat"] * 3) and not rule.fires([])


SHARES = {" cat": 0.5, " dog": 0.2, " red": 0.2, " on": 0.2, " Paris": 0.2, "ing": 0.2}


def at_times(generator):
    return lambda texts: [generator.random() < SHARES.get(text, 0.0) for text in texts]


def test_a_latent_that_fires_at_times_gets_a_rule_in_which_tokens_count_by_how_often():
    generator = np.random.default_rng(0)
    shown = contexts("train", at_times(generator), 400, seed=1, length=20)
    rule = find_rule(shown, SearchConfig(max_entries=300))
    cat, dog, other = rule.counts([" cat", " dog", " sat"])
    assert cat > dog > other
    new = contexts("held_out", at_times(generator), 300, seed=2, length=20)
    short = accuracy(find_rule(shown), new)
    assert accuracy(rule, new) > short + 0.02, "weighing tokens tells more than naming them"


def test_shares_are_those_of_a_naive_count():
    shown = contexts("train", at_times(np.random.default_rng(0)), 60, seed=1)
    table = TokenTable(shown.all)
    names = Names.of(table.texts)
    found = Sample(table, np.ones(len(table.ids), bool)).shares(names)
    tokens = [
        (before, text, code > 0)
        for c in shown.all
        for before, text, code in zip((None, *c.texts[:-1]), c.texts, c.codes, strict=True)
    ]

    def share(kept, wider, s):
        return (sum(fired for *_, fired in kept) + s * wider) / (len(kept) + s)

    every = share(tokens, 0.0, 0.0)
    for number, text in enumerate(table.texts):
        of_class = share([t for t in tokens if finest_class(t[1]) == finest_class(text)], every, SHRINK[0])
        of_word = share([t for t in tokens if as_word(t[1]) == as_word(text)], of_class, SHRINK[1])
        own = share([t for t in tokens if t[1] == text], of_word, SHRINK[2])
        assert found.texts[number] == pytest.approx(own)
        for other, before in enumerate(table.texts):
            at = np.searchsorted(found.pair_keys, other * (table.n_tokens + 1) + number)
            pairs = [t for t in tokens if t[:2] == (before, text)]
            if pairs:
                assert found.pairs[at] == pytest.approx(share(pairs, own, SHRINK[3]))


def test_a_graded_rule_says_in_text_what_its_numbers_say():
    shown = contexts("train", at_times(np.random.default_rng(0)), 200, seed=1)
    table = TokenTable(shown.all)
    names, sample = Names.of(table.texts), Sample(table, np.ones(len(table.ids), bool))
    for most in (0, 3, 30):
        named = Named.most(names, sample, sample.shares(names), most)
        rule = Rule.parse(joined(named.clauses(table.texts, names, 0.4)).text)
        assert len(named) <= most
        assert (np.stack(rule.counts_all([c.texts for c in shown.all])) == rounded(named.weights(sample), 0.4)).all()
