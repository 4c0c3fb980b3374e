"""Claims of the evaluation sheet, section 7: automated interpretation (2410.13928)."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.conftest import tiny_llama
from tests.features.conftest import make_tokenizer
from tests.features.explain.planted import WORDS, evidence, is_word

from pellucid.dictionaries import ReluConfig, make_dictionary
from pellucid.features.language import CausalModel
from pellucid.features.scores.detection import Detection
from pellucid.features.scores.fuzzing import Fuzzing
from pellucid.features.scores.intervention import Intervention
from pellucid.features.scores.judges import RuleJudge
from pellucid.features.scores.surprisal import UNRELATED, Surprisal
from pellucid.features.steering import EditedPass, Steerable
from pellucid.features.steering.passes import kl_divergence
from pellucid.hosts import Host

JUDGE = RuleJudge()


def test_evaluation_07_1_oracle_is_right_and_random_is_at_chance():
    """(1) An oracle explanation scores 1.0, a random one about 0.5, in detection and in fuzzing."""
    own, other = {}, {}
    for number, word in enumerate(WORDS[:6]):
        given = evidence(is_word(word), latent=number, n=60)
        for scorer in (Detection(JUDGE), Fuzzing(JUDGE)):
            own.setdefault(scorer.name, []).append(scorer.score(f'Fires on "{word}"', given).value)
            unrelated = WORDS[(number + 3) % 6]
            other.setdefault(scorer.name, []).append(scorer.score(f'Fires on "{unrelated}"', given).value)
    for name in ("detection", "fuzzing"):
        assert min(own[name]) == 1.0
        assert abs(np.mean(other[name]) - 0.5) < 0.05


def gap(fires, explanation):
    given = evidence(fires, n=60, length=12)
    return Detection(JUDGE).score(explanation, given).value - Fuzzing(JUDGE).score(explanation, given).value


def test_evaluation_07_2_the_gap_between_detection_and_fuzzing_tells_context_from_token():
    """(2) Detection exceeds fuzzing for a latent of the whole context; for a latent of a token the gap is the other way.

    The context latent fires on one token somewhere after " Paris", so its explanation "text with Paris" is true of the
    context and says nothing of the token. The token latent fires on every fifth " cat" or so: its explanation " cat" says
    rightly which tokens, but silent contexts have cats too.
    """
    generator = np.random.default_rng(0)

    def topic(texts):
        marks = np.zeros(len(texts), bool)
        if " Paris" in texts:
            silent = [i for i, text in enumerate(texts) if text != " Paris"]
            marks[generator.choice(silent)] = True
        return marks

    def token(texts):
        return np.array([text == " cat" and generator.random() < 0.3 for text in texts])

    assert gap(topic, 'Fires on " Paris"') > 0.3
    assert gap(token, 'Fires on " cat"') < -0.05


@pytest.fixture(scope="module")
def reader():
    return CausalModel(Host(tiny_llama(), name="llama", tokenizer=make_tokenizer()))


def test_evaluation_07_3_surprisal_against_itself_is_chance(reader):
    """(3) Surprisal's AUROC is 0.5 if z = z~, and another description moves it."""
    given = evidence(is_word(" w3"), n=6, words=[f" w{i}" for i in range(20)])
    assert Surprisal(reader).score(UNRELATED, given).value == 0.5
    assert Surprisal(reader).score("w3 w4", given).value != 0.5


def test_evaluation_07_4_intervention_is_zero_without_strength_and_grows_with_kl():
    """(4) With strength 0 the score is 0; it grows with the KL, which comes within 10 % of its target.

    The latent's atom is the unembedding of one word, and the explanation is that word written as often as texts are long:
    a reader that repeats what it reads is played by counting.
    """
    module = tiny_llama()
    with torch.no_grad():
        module.lm_head.weight *= 20  # logits of a random model are so even that no direction reaches a KL of 0.3 nats
    host = Host(module, name="llama", tokenizer=make_tokenizer())
    site = host.site("layers.3")
    dictionary = make_dictionary(ReluConfig(n_latents=4), 32, torch.Generator().manual_seed(0))
    word = make_tokenizer().encode("w7")[0]
    with torch.no_grad():
        dictionary.decoder[2] = torch.nn.functional.normalize(host.module.lm_head.weight[word], dim=0)
    prompts = torch.randint(2, 90, (24, 6), generator=torch.Generator().manual_seed(1))
    steerable = Steerable(host, {"d": (dictionary, site)})

    class Counting(CausalModel):
        def __init__(self):
            pass

        def log_prob(self, prompts, continuations):
            return np.array([float(text.count(name.strip())) for text, name in zip(prompts, continuations, strict=True)])

    given = evidence(is_word(" cat"), n=2, latent=2)
    scores = []
    for kl in (0.0, 0.3, 2.0):
        scorer = Intervention(steerable, "d", prompts, Counting(), kl=kl, new_tokens=6)
        scores.append(scorer.score("w7", given).value)
        if kl:
            texts = EditedPass(steerable, prompts, sites=[site])
            reached = float(kl_divergence(texts.before, texts.after([scorer.edit(2)])).mean())
            assert abs(reached - kl) <= 0.1 * kl
    assert scores[0] == 0.0 and scores[0] < scores[1] < scores[2]
