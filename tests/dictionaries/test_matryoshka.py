from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import BatchTopKConfig, MatryoshkaConfig, make_dictionary
from pellucid.kernels.forms import get_form

CONFIG = MatryoshkaConfig(n_latents=M, k=3, groups=(0.25, 0.25))


def test_prefix_errors_equal_a_naive_loop():
    dictionary, x = moved(CONFIG).requires_grad_(False), sample()
    forward = dictionary(x)
    assert CONFIG.ends == [3, 6]
    wanted = 0.0
    for end in CONFIG.ends:
        for t in range(N):
            for j in range(D):
                part = sum(forward.codes[t, i] * dictionary.decoder[i, j] for i in range(end)) + dictionary.decoder_bias[j]
                wanted += float(part - x[t, j]) ** 2 / (N * D)
    assert float(dictionary.penalty(forward, x, NONE_DEAD)["prefixes"]) == pytest.approx(wanted, rel=1e-12)


def test_codes_are_those_of_batch_topk():
    matryoshka, x = moved(CONFIG), sample()
    plain = make_dictionary(BatchTopKConfig(n_latents=M, k=3), D, torch.Generator().manual_seed(0), x.float()).double()
    plain.load_state_dict({key: value for key, value in matryoshka.state_dict().items() if key != "drawn"})
    assert torch.equal(matryoshka(x).codes, plain(x).codes)


def test_the_last_prefix_is_the_whole():
    dictionary, x = moved(CONFIG), sample()
    forward = dictionary(x)
    parts = dictionary.prefix_reconstructions(forward, [3, 6, M])
    assert_close(parts[-1], forward.reconstruction)


def test_gradients_equal_finite_differences():
    check_slopes(moved(CONFIG), sample(), "encoder", "encoder_bias", "decoder", "decoder_bias")


@pytest.mark.parametrize("name", ["stock", "numba"])
def test_sparse_kernels_give_the_same_loss_and_gradients(name):
    config = MatryoshkaConfig(n_latents=96, k=2, groups=(0.25, 0.25))
    found = []
    for form in (None, get_form(name)):
        dictionary = make_dictionary(config, 8, torch.Generator().manual_seed(0), sample(64, 8).float())
        dictionary.form = form
        x = sample(64, 8).float()
        forward = dictionary(x)
        terms = dictionary.penalty(forward, x, torch.zeros(96, dtype=torch.bool))
        assert (forward.entries is None) == (form is None)
        (terms["prefixes"] + (forward.reconstruction - x).square().mean()).backward()
        found.append([terms["prefixes"].detach(), *(p.grad for p in dictionary.parameters())])
    for left, right in zip(*found, strict=True):
        assert_close(left, right, rtol=1e-5, atol=1e-6)


def test_sampled_prefixes_differ_between_batches_and_come_again_after_a_reload():
    dictionary = moved(MatryoshkaConfig(n_latents=M, k=3, groups=(0.25, 0.25), sampled=True))
    drawn = []
    for _ in range(12):
        drawn.append(dictionary.prefix_ends())
        dictionary.after_step()
    assert len({tuple(ends) for ends in drawn}) > 3
    assert all(1 <= end < M for ends in drawn for end in ends) and all(ends == sorted(set(ends)) for ends in drawn)
    again = moved(dictionary.config)
    again.drawn.fill_(1)  # as `moved` left it
    assert [again.prefix_ends(), drawn[0]] == [drawn[0], again.prefix_ends()]


@pytest.mark.parametrize("groups", [(), (0.5, 0.6), (-0.1, 0.2), (0.01, 0.02)])
def test_impossible_groups_are_refused(groups):
    with pytest.raises(ConfigError, match="groups"):
        build(MatryoshkaConfig, {"n_latents": M, "k": 3, "groups": groups})
