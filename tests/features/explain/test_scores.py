from __future__ import annotations

import numpy as np
import pytest
import torch
from tests.features.explain.planted import evidence, is_word

from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.features.explain import Rule
from pellucid.features.explain.marks import marked
from pellucid.features.language import LanguageModel
from pellucid.features.scores.base import auroc, wilson
from pellucid.features.scores.detection import Detection
from pellucid.features.scores.embedding import Embedding, Encoder
from pellucid.features.scores.fuzzing import Fuzzing, wrong_marks
from pellucid.features.scores.judges import ModelJudge, RuleJudge
from pellucid.features.scores.simulation import Simulation

CAT = 'Fires on " cat"'


def test_auroc_and_its_interval():
    generator = np.random.default_rng(0)
    x, y = generator.integers(0, 6, 30).astype(float), generator.integers(0, 5, 20).astype(float)
    naive = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in x for b in y])
    found = auroc(x, y)
    assert found.value == pytest.approx(naive) and found.low < found.value < found.high and found.n == 50
    assert auroc(np.ones(3), np.zeros(4)).value == 1.0


def test_the_interval_of_auroc_covers_the_truth_as_often_as_it_says():
    generator = np.random.default_rng(1)
    hits = 0
    for _ in range(200):
        found = auroc(generator.normal(1, 1, 40), generator.normal(0, 1, 40))
        hits += found.low <= 0.7602 <= found.high  # P(N(1,1) > N(0,1)) = Phi(1 / sqrt 2)
    assert 180 <= hits <= 199


def test_wilson_interval():
    found = wilson(np.arange(100) < 80)
    assert (found.value, found.n) == (0.8, 100)
    assert found.low == pytest.approx(0.7112, abs=1e-4) and found.high == pytest.approx(0.8666, abs=1e-4)
    assert 0.95 < wilson(np.ones(100, bool)).low < 1.0
    with pytest.raises(ConfigError, match="one judgement"):
        wilson(np.ones(0, bool))


def test_simulation_is_pearson_over_all_tokens():
    given = evidence(is_word(" cat"))
    found = Simulation(RuleJudge()).score('Fires on " cat" or " dog"', given)
    true = np.concatenate([c.codes for c in given.held_out.all])
    said = np.concatenate([[t in (" cat", " dog") for t in c.texts] for c in given.held_out.all])
    assert found.value == pytest.approx(np.corrcoef(true, said)[0, 1], abs=1e-6)
    assert found.low < found.value < found.high and found.n == 80
    assert Simulation(RuleJudge()).score("Fires on nothing", given).value == 0.0


def test_wrong_marks_are_as_many_and_never_right():
    generator = np.random.default_rng(0)
    for context in evidence(is_word(" cat")).held_out.firing:
        marks = wrong_marks(context, generator)
        assert not (marks & (context.codes > 0)).any()
        assert marks.sum() == min((context.codes > 0).sum(), (context.codes <= 0).sum())


def test_scores_do_not_depend_on_the_order_of_work():
    given = evidence(is_word(" cat"))
    fuzzing = Fuzzing(RuleJudge(), seed=3)
    first = fuzzing.score('Fires on " dog"', given)
    fuzzing.score(CAT, given)
    assert fuzzing.score('Fires on " dog"', given) == first


def test_a_sentence_cannot_judge_itself():
    with pytest.raises(ConfigError, match="is no rule, so it cannot judge itself"):
        Detection(RuleJudge()).score("cats", evidence(is_word(" cat")))


class Reader(LanguageModel):
    """Plays a model that follows the description to the letter: yes if a quoted word is in the text, or marked."""

    name = "reader"

    def complete(self, prompt, max_tokens=40):
        raise AssertionError("nobody asks it for a text")

    def yes(self, prompts, neutral):
        return np.array([float(self._right(prompt)) for prompt in prompts])

    def _right(self, prompt):
        text = prompt.split("Text: ")[1].split("\n\n")[0]
        return "<< cat>>" in text if "<<" in prompt.split("\n\n")[-1] else " cat" in text


def test_a_model_judges_by_what_it_reads():
    given, judge = evidence(is_word(" cat"), words=[" cat", " dog", " sat", " on"]), ModelJudge(Reader())
    assert Detection(judge).score("cats", given).value == 1.0
    assert Simulation(judge).score("cats", given).value > 0.9


def test_marks_of_the_text_itself_are_set_apart():
    assert marked([" a", "<<", " b"], np.array([True, False, True])) == "<< a>>< <<< b>>"
    assert marked(["x", "y"], np.array([True, True])) == "<<xy>>"


class Bag(torch.nn.Module):
    """An encoder whose hidden states are one-hot: embeddings are bags of words."""

    class Output:
        def __init__(self, hidden):
            self.last_hidden_state = hidden

    def forward(self, input_ids, attention_mask, **_):
        return self.Output(torch.nn.functional.one_hot(input_ids, 4000).float())


class Words:
    """One number a word; padding is 0."""

    def __init__(self):
        self.known = {}

    def __call__(self, texts, **_):
        ids = [[self.known.setdefault(word, len(self.known) + 1) for word in text.split()] or [3999] for text in texts]
        width = max(map(len, ids))
        return {
            "input_ids": torch.tensor([row + [0] * (width - len(row)) for row in ids]),
            "attention_mask": torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in ids]),
        }


def test_embedding_scores_nearness_of_firing_contexts():
    given = evidence(is_word(" cat"), words=[" cat", " dog", " sat", " on", " mat", " red"])
    scorer = Embedding(Encoder(Bag(), Words()))
    assert scorer.score("cat", given).value == 1.0
    assert scorer.score("zebra", given).value == 0.5
    alone = Encoder(Bag(), Words(), batch=1).embed(["a b", "a"])
    assert torch.allclose(alone, Encoder(Bag(), Words()).embed(["a b", "a"])), "padding changes nothing"


@pytest.mark.parametrize("make", [lambda p: p.write_bytes(b"no archive"), lambda p: None, lambda p: p.mkdir()])
def test_what_is_no_embedding_model_is_named(tmp_path, make):
    make(tmp_path / "model.whl")
    with pytest.raises(FileFormatError, match=r"model\.whl"):
        Encoder.load(tmp_path / "model.whl")


def test_rule_judge_reads_texts_only():
    given = evidence(is_word(" cat"))
    judge = RuleJudge()
    assert Detection(judge).score(CAT, given).value == 1.0 and Rule.parse(CAT) is not None
