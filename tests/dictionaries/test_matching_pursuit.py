from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from tests.dictionaries.naive import D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.dictionaries import MatchingPursuitConfig

CONFIG = MatchingPursuitConfig(n_latents=M, pursuit_steps=4)


def test_pursuit_equals_a_naive_loop():
    dictionary, x = moved(CONFIG), sample()
    forward = dictionary(x)
    atoms = dictionary.decoder.detach()
    for t in range(N):
        residual, codes = (x[t] - dictionary.decoder_bias).detach().clone(), torch.zeros(M, dtype=torch.float64)
        for _ in range(4):
            products = [float(atoms[i] @ residual) for i in range(M)]
            best = max(range(M), key=products.__getitem__)
            amount = max(products[best], 0.0)
            codes[best] += amount
            residual -= amount * atoms[best]
        assert_close(forward.codes[t].detach(), codes)
        assert_close(forward.reconstruction[t].detach(), x[t] - residual)


def test_reconstruction_is_the_decoded_codes():
    dictionary, x = moved(CONFIG), sample()
    forward = dictionary(x)
    assert_close(forward.reconstruction, dictionary.decode(forward.codes))
    assert int((forward.codes > 0).sum(dim=1).max()) <= 4


def test_gradients_equal_finite_differences():
    check_slopes(moved(CONFIG), sample(), "decoder", "decoder_bias")


def test_residuals_never_grow_and_are_orthogonal_to_the_last_atom():
    dictionary, x = moved(CONFIG).requires_grad_(False), sample()
    norms = []
    for steps in range(7):
        before = dictionary.pursue(x, max(steps - 1, 0))[1]
        codes, residual = dictionary.pursue(x, steps)
        norms.append(residual.norm(dim=1))
        if steps:
            last = dictionary._best(before)
            products = (dictionary.decoder[last] * residual).sum(dim=1)
            taken = codes.sum(dim=1) > dictionary.pursue(x, steps - 1)[0].sum(dim=1)
            assert float(products.max()) < 1e-12 and float(products[taken].abs().max()) < 1e-12
    assert all(bool((later <= earlier + 1e-12).all()) for earlier, later in pairwise(norms))


def test_tokens_stop_at_the_tolerance():
    x = sample()
    dictionary = moved(MatchingPursuitConfig(n_latents=M, pursuit_steps=50, tolerance=0.5))
    codes, residual = dictionary.pursue(x, 50)
    start = (x - dictionary.decoder_bias).norm(dim=1)
    enough = residual.norm(dim=1) <= 0.5 * start
    spent = (residual @ dictionary.decoder.T).amax(dim=1) < 1e-3  # atoms that do not surround the origin leave a rest
    assert bool((enough | spent).all()) and int(enough.sum()) > N // 2
    full = moved(MatchingPursuitConfig(n_latents=M, pursuit_steps=50)).pursue(x, 50)[0]
    assert int((codes > 0).sum()) < int((full > 0).sum())


def test_nothing_is_taken_where_every_product_is_negative():
    dictionary = moved(CONFIG)
    with torch.no_grad():
        dictionary.decoder.zero_()[:, 0] = 1
    x = dictionary.decoder_bias.detach() - torch.eye(D, dtype=torch.float64)[:1]
    assert float(dictionary.encode(x).detach().sum()) == 0


@pytest.mark.parametrize("x", [torch.zeros(3, D), torch.ones(1, D)], ids=["zero", "one row"])
def test_zero_activations_and_one_row(x):
    forward = moved(CONFIG)(x.double())
    assert bool(forward.reconstruction.isfinite().all())
