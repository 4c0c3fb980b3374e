"""Which rule a latent gets: a short one, or, where that tells much less, one in which tokens count in part."""

from __future__ import annotations

import numpy as np

from pellucid.features.explain.contexts import Contexts
from pellucid.features.explain.pattern.graded import balanced, find_graded
from pellucid.features.explain.pattern.rule import FULL, Rule
from pellucid.features.explain.pattern.search import SearchConfig, find_short, joined


def find_rule(shown: Contexts, config: SearchConfig | None = None) -> Rule:
    """Return a rule for the contexts of a latent.

    Both kinds are made from every other context and compared on the rest; the better one is made again from all.
    """
    config = config or SearchConfig()
    half, rest = (Contexts(shown.firing[k::2], shown.silent[k::2]) for k in (0, 1))
    if config.max_entries and half.firing and half.silent and rest.firing and rest.silent:
        graded = joined(find_graded(half, config.max_entries))
        short = find_short(half, config)
        if accuracy(graded, rest) > accuracy(short, rest) + config.grading_cost:
            return joined(find_graded(shown, config.max_entries))
    return find_short(shown, config)


def accuracy(rule: Rule, contexts: Contexts) -> float:
    """Return the mean of the shares of firing and of silent contexts that a rule is right about."""
    said = np.array([counts.sum() >= FULL for counts in rule.counts_all([context.texts for context in contexts.all])])
    return balanced(said, np.arange(len(said)) < len(contexts.firing))
