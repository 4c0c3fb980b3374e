"""Gradients of the plain architectures; the others' are checked beside their equations."""

from __future__ import annotations

import pytest
from tests.dictionaries.naive import M, check_slopes, moved, sample

from pellucid.dictionaries import ReluConfig, TopKConfig

CONFIGS = {
    "relu": ReluConfig(n_latents=M, l1=0.3),
    "relu with free atoms": ReluConfig(n_latents=M, l1=0.3, atom_norm="free"),
    "topk": TopKConfig(n_latents=M, k=3),
}


@pytest.mark.parametrize("name", list(CONFIGS))
def test_gradients_equal_finite_differences(name):
    check_slopes(moved(CONFIGS[name]), sample(), "encoder", "encoder_bias", "decoder", "decoder_bias")
