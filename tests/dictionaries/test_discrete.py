from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, check_slopes, moved, sample
from torch.nn.functional import cosine_similarity
from torch.testing import assert_close

from pellucid.dictionaries import DiscreteConfig

CONFIG = DiscreteConfig(n_latents=M, l1=0.3, contrast=0.5)


def test_forward_and_terms_equal_a_naive_loop():
    dictionary, x = moved(CONFIG).requires_grad_(False), sample()
    forward = dictionary(x)
    total = 0.0
    for t in range(N):
        wanted = dictionary.decoder_bias.clone()
        for i in range(M):
            z = max(sum(float(dictionary.encoder[i, j] * x[t, j]) for j in range(D)) + float(dictionary.encoder_bias[i]), 0.0)
            total += z
            wanted += z * dictionary.decoder[i]
        assert_close(forward.reconstruction[t], wanted)
    terms = dictionary.penalty(forward, x, NONE_DEAD)
    half, z = N // 2, forward.codes
    apart = sum(float(cosine_similarity(z[i], z[half + i], dim=0)) for i in range(half)) / half
    together = sum(float(cosine_similarity(z[i], z[i - 1 if i else half - 1], dim=0)) for i in range(half)) / half
    assert float(terms["sparsity"]) == pytest.approx(0.3 * total / N)
    assert float(terms["contrast"]) == pytest.approx(0.5 * (apart + 1 - together))


def test_gradients_equal_finite_differences():
    check_slopes(moved(CONFIG), sample(), "encoder", "encoder_bias", "decoder", "decoder_bias")


def test_labels_are_the_strongest_latents():
    dictionary, x = moved(CONFIG), sample()
    labels = dictionary.labels(x)
    assert labels.dtype == torch.int64 and int(labels.min()) >= 0 and int(labels.max()) < M
    assert torch.equal(labels, dictionary.labels(x))
    assert labels.tolist() == [max(range(M), key=lambda i, t=t: float(dictionary.encode(x)[t, i].detach())) for t in range(N)]
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-100)
    assert torch.equal(dictionary.labels(x), torch.zeros(N, dtype=torch.int64))


def test_one_row_has_no_contrast():
    dictionary, x = moved(CONFIG), sample(1)
    assert dictionary.penalty(dictionary(x), x, NONE_DEAD).keys() == {"sparsity"}
