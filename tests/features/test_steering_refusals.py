"""What cannot be steered is refused, by name and all at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from tests.features.conftest import make_tokenizer

from pellucid.core.errors import ConfigError, DataError, NumericsError, SiteError
from pellucid.dictionaries import make_dictionary
from pellucid.dictionaries.latent_quantization import LatentQuantizationConfig
from pellucid.features.steering import MAX_CHARACTERS, MAX_TOKENS, Edit, Steerable, active_features, steered_logits, tokenize


@pytest.fixture
def steerable(llama_host, dictionaries):
    return Steerable(llama_host, dictionaries)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "either a latent or a direction"),
        ({"latent": 1, "direction": [1.0]}, "either a latent or a direction"),
        ({"latent": 1}, "operation 'add' needs a value"),
        ({"latent": 1, "operation": "set"}, "operation 'set' needs a value"),
        ({"latent": 1, "value": float("nan")}, "value is nan, wanted a finite number"),
        ({"latent": 1, "value": float("inf")}, "value is inf, wanted a finite number"),
        ({"latent": 1, "operation": "ablate_zero", "value": 2}, "'ablate_zero' takes no value, found 2.0"),
        ({"latent": 1, "operation": "set", "value": 2, "relative": True}, "relative belongs to operation 'add'"),
        ({"latent": 1, "value": 1, "site": "layers.1"}, "a latent is edited at its dictionary's site"),
        ({"latent": 1, "value": 1, "positions": "everywhere"}, "positions 'everywhere' cannot be read; write all, prompt"),
        ({"latent": 1, "value": 1, "positions": ()}, "positions is an empty list"),
        ({"direction": [1.0], "value": 1}, "a direction needs a site"),
        ({"direction": [0.0], "value": 1, "site": "layers.1"}, "the direction is all zeros"),
        ({"direction": [1.0, float("nan")], "value": 1, "site": "layers.1"}, "1 of 2 numbers of the direction are not finite"),
        ({"direction": [1.0], "value": 1, "site": "layers.1", "positions": "fires"}, "the edit is along a direction"),
        ({"latent": 1, "value": 1, "operation": "boost"}, "add"),
    ],
)
def test_an_edit_that_means_nothing_is_refused(settings, message):
    with pytest.raises(ValidationError, match=message):
        Edit(**settings)


def test_everything_wrong_with_a_list_is_said_at_once(steerable, token_inputs):
    edits = [
        Edit(dictionary="top", latent=0, value=1.0),
        Edit(latent=0, value=1.0),
        Edit(dictionary="topk", latent=40, value=1.0),
        Edit(dictionary="topk", latent=-1, value=1.0),
        Edit(dictionary="topk", latent=0, value=1.0, positions="3,12,-13"),
        Edit(dictionary="topk", latent=0, value=1.0, positions="12:20"),
        Edit(dictionary="topk", latent=0, operation="ablate_mean"),
        Edit(site="layer.1", direction=np.ones(32), value=1.0),
        Edit(site="layers.1", direction=torch.ones(31), value=1.0),
    ]
    with pytest.raises(ConfigError) as refused:
        steered_logits(steerable, token_inputs["input_ids"], edits)
    for sentence in (
        "9 problems",
        "unknown dictionary 'top'; there are ['relu', 'topk']. Did you mean 'topk'",
        "which dictionary is meant? There are ['relu', 'topk']",
        "dictionary 'topk' has latents 0 to 39, got 40",
        "dictionary 'topk' has latents 0 to 39, got -1",
        "positions [12, -13] are outside the text, which has positions 0 to 11",
        "the slice 12:20 holds no position of the text, which has positions 0 to 11",
        "needs the mean code as its value",
        "unknown site 'layer.1' in llama. Did you mean 'layers.1'",
        "the direction has 31 numbers, but site 'layers.1' has 32 features",
    ):
        assert sentence in str(refused.value)


@pytest.mark.parametrize(
    "pair",
    [
        ({"operation": "set", "value": 1.0}, {"operation": "set", "value": 2.0}),
        ({"operation": "set", "value": 1.0}, {"operation": "ablate_zero", "positions": "3:5"}),
        ({"operation": "ablate_mean", "value": 1.0, "positions": "fires"}, {"operation": "scale", "value": 2.0}),
    ],
)
def test_two_edits_that_fix_one_code_at_one_position_contradict_each_other(steerable, token_inputs, pair):
    edits = [Edit(dictionary="topk", latent=5, **settings) for settings in pair]
    with pytest.raises(ConfigError, match=r"latent 5 of 'topk'.*contradict each other at positions (1, 2, 3|3, 4)"):
        steered_logits(steerable, token_inputs["input_ids"], edits)


def test_sets_at_other_positions_or_of_other_latents_are_no_contradiction(steerable, token_inputs):
    edits = [
        Edit(dictionary="topk", latent=5, operation="set", value=1.0, positions=":4"),
        Edit(dictionary="topk", latent=5, operation="set", value=2.0, positions="4:"),
        Edit(dictionary="topk", latent=6, operation="set", value=2.0),
        Edit(dictionary="relu", latent=5, operation="set", value=2.0),
    ]
    assert steered_logits(steerable, token_inputs["input_ids"], edits).isfinite().all()


def test_a_direction_too_wide_for_a_site_without_a_dictionary_is_refused(steerable, token_inputs):
    edit = Edit(site="layers.2.mlp.hidden", direction=torch.ones(32), value=1.0)
    with pytest.raises(SiteError, match=r"site 'layers.2.mlp.hidden' has 64 features, but what is edited there has 32"):
        steered_logits(steerable, token_inputs["input_ids"], [edit])


def test_edits_that_drive_logits_to_infinity_are_refused(steerable, token_inputs):
    with pytest.raises(NumericsError, match=r"logits are not finite, because of the edits: lower their values"):
        steered_logits(steerable, token_inputs["input_ids"], [Edit(dictionary="topk", latent=0, value=3e38)] * 8)


def test_prompts_that_are_empty_or_huge_are_refused(llama_host):
    with pytest.raises(DataError, match="no tokenizer to read a prompt"):
        tokenize(llama_host, "w1")
    llama_host.tokenizer = make_tokenizer()
    for empty in ("", "  "):
        with pytest.raises(DataError, match=r"the prompt (is empty|has no token); give a text"):
            tokenize(llama_host, empty)
    with pytest.raises(DataError, match=r"the prompt has 257 tokens; the limit is 256"):  # the host's own context
        tokenize(llama_host, "w1 " * 257)
    llama_host.module.config.max_position_embeddings = 4096
    with pytest.raises(DataError, match=rf"the prompt has {MAX_TOKENS + 1:,} tokens; the limit is {MAX_TOKENS:,}"):
        tokenize(llama_host, "w1 " * (MAX_TOKENS + 1))
    with pytest.raises(DataError, match=rf"characters; the limit is {MAX_CHARACTERS:,}"):
        tokenize(llama_host, "x" * (MAX_CHARACTERS + 1))
    assert tokenize(llama_host, "w1 w2").tolist() == [[3, 4]]


def test_an_unknown_dictionary_of_a_question_is_named_with_the_nearest(steerable, token_inputs):
    with pytest.raises(ConfigError, match=r"unknown dictionary 'rellu'; there are \['relu', 'topk'\]. Did you mean 'relu'"):
        active_features(steerable, token_inputs["input_ids"][:1], "rellu")


def test_no_token_is_refused(steerable):
    with pytest.raises(DataError, match=r"tokens have shape \(1, 0\)"):
        steered_logits(steerable, torch.zeros(1, 0, dtype=torch.int64))


def test_a_latent_of_a_decoder_that_is_no_sum_is_refused(llama_host, token_inputs):
    coders = {}
    for name, hidden in (("network", (8,)), ("linear", ())):
        config = LatentQuantizationConfig(n_latents=20, hidden=hidden)
        coders[name] = make_dictionary(config, 32, torch.Generator().manual_seed(0), torch.randn(64, 32))
    steerable = Steerable(llama_host, {name: (coder, llama_host.site("layers.1")) for name, coder in coders.items()})
    steered_logits(steerable, token_inputs["input_ids"], [Edit(dictionary="linear", latent=1, value=1.0)])
    with pytest.raises(ConfigError, match=r"'network' \(latent_quantization\) is no sum over latents.*give a direction"):
        steered_logits(steerable, token_inputs["input_ids"], [Edit(dictionary="network", latent=1, value=1.0)])
