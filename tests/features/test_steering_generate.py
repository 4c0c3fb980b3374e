"""Generation with edits: a cache of keys and values gives what running the whole text at every step gives."""

from __future__ import annotations

import pytest
import torch
from tests.conftest import HOSTS

from pellucid.core.errors import ConfigError, DataError
from pellucid.dictionaries import TopKConfig, make_dictionary
from pellucid.features.steering import Edit, Steerable, generate, steered_logits
from pellucid.features.steering.generate import choose
from pellucid.hosts import Host

NEW = 6


def steered(kind: str) -> Steerable:
    host = Host(HOSTS[kind][0](), name=kind)
    dictionary = make_dictionary(TopKConfig(n_latents=40, k=4, bias_init="zeros"), 32, torch.Generator().manual_seed(7))
    return Steerable(host, {"topk": (dictionary, host.site("layers.1"))})


@pytest.fixture
def prompt():
    return torch.randint(2, 97, (1, 7), generator=torch.Generator().manual_seed(4))


@pytest.mark.parametrize("positions", ["all", "prompt", "last", "from_end", "fires", "2:9", "8:", "3,8,-1"])
def test_with_the_cache_equals_without_it(prompt, positions):
    steerable = steered("llama")
    edits = [
        Edit(latent=3, operation="set", value=3.0, positions=positions),
        Edit(latent=9, value=0.8, relative=True, positions=positions),
        Edit(site="layers.2", direction=torch.ones(32), operation="ablate_direction", positions="5:"),
    ]
    cached, plain = (generate(steerable, prompt, edits, max_new_tokens=NEW, cache=cache) for cache in (True, False))
    assert cached.tokens == plain.tokens and cached.edited == plain.edited
    assert cached.log_probabilities == pytest.approx(plain.log_probabilities, abs=1e-5)


@pytest.mark.parametrize("kind", ["gpt2", "neox"])
def test_the_cache_of_other_families_is_used_as_well(prompt, kind, monkeypatch):
    steerable = steered(kind)
    lengths = []
    run = steerable.host.run
    monkeypatch.setattr(
        steerable.host, "run", lambda inputs, **more: lengths.append(inputs["input_ids"].shape[1]) or run(inputs, **more)
    )
    edits = [Edit(latent=3, operation="set", value=3.0)]
    cached = generate(steerable, prompt, edits, max_new_tokens=NEW)
    assert lengths == [7, 1, 1, 1, 1, 1]
    plain = generate(steerable, prompt, edits, max_new_tokens=NEW, cache=False)
    assert cached.tokens == plain.tokens
    assert cached.log_probabilities == pytest.approx(plain.log_probabilities, abs=1e-5)


def test_generated_positions_are_edited_as_scored_ones_are(prompt):
    steerable = steered("llama")
    edits = [Edit(latent=3, operation="set", value=3.0), Edit(latent=9, operation="scale", value=2.0, positions="fires")]
    made = generate(steerable, prompt, edits, max_new_tokens=NEW)
    text = torch.cat([prompt, torch.tensor([made.tokens])], dim=1)
    log_p = steered_logits(steerable, text, edits)[0].log_softmax(-1)
    scored = [float(log_p[6 + i, token]) for i, token in enumerate(made.tokens)]
    assert made.log_probabilities == pytest.approx(scored, abs=1e-5)
    assert made.tokens == log_p[6:-1].argmax(-1).tolist()
    assert made.edited == {"layers.1": list(range(1, 12))}


def test_no_edit_gives_the_hosts_own_greedy_text_and_edits_another(prompt):
    steerable = steered("llama")
    text = prompt
    for _ in range(NEW):
        text = torch.cat([text, steerable.host.module(text).logits[:, -1:].argmax(-1)], dim=1)
    assert generate(steerable, prompt, max_new_tokens=NEW).tokens == text[0, 7:].tolist()
    edit = Edit(site="layers.3", direction=steerable.host.module.lm_head.weight[5], value=1e3)
    assert generate(steerable, prompt, [edit], max_new_tokens=NEW).tokens == [5] * NEW


def test_a_seed_gives_one_draw_and_another_seed_another(prompt):
    steerable = steered("llama")
    draws = [generate(steerable, prompt, max_new_tokens=NEW, temperature=1.0, seed=seed).tokens for seed in (0, 0, 1)]
    assert draws[0] == draws[1] != draws[2]


def test_drawn_tokens_follow_the_tempered_distribution():
    logits, random = torch.tensor([1.0, 0.0, -1.0]), torch.Generator().manual_seed(0)
    drawn = torch.bincount(torch.tensor([choose(logits, 0.5, random) for _ in range(2000)]), minlength=3) / 2000
    expected = (logits / 0.5).softmax(-1)
    assert bool(((drawn - expected).abs() < 4 * (expected * (1 - expected) / 2000).sqrt()).all())


def test_the_end_of_text_token_ends_and_is_left_out(prompt, data):
    steerable = steered("llama")
    steerable.host.tokenizer = data.tokenizer
    edit = Edit(site="layers.3", direction=steerable.host.module.lm_head.weight[1], value=1e3, positions="8:")
    made = generate(steerable, prompt, [edit], max_new_tokens=NEW)
    assert made.ended and len(made.tokens) == 2 and made.text == data.tokenizer.decode(made.tokens)


def test_settings_out_of_range_are_refused_together(prompt):
    steerable = steered("llama")
    with pytest.raises(
        ConfigError, match=r"(?s)max_new_tokens is 999, wanted 0 to 512.*temperature is nan.*context of llama, 256"
    ):
        generate(steerable, prompt, max_new_tokens=999, temperature=float("nan"))
    with pytest.raises(DataError, match=r"tokens have shape \(1, 0\)"):
        generate(steerable, prompt[:, :0])
    assert generate(steerable, prompt, max_new_tokens=0).tokens == []
