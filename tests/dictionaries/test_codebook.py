from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import CodebookConfig, make_dictionary

CONFIG = CodebookConfig(n_latents=M, k=3)


def test_outputs_are_sums_of_the_k_codes_with_the_largest_cosines():
    dictionary, x = moved(CONFIG).requires_grad_(False), sample()
    forward = dictionary(x)
    for t in range(N):
        centred = x[t] - x[t].mean()
        cosines = [float(code @ centred / code.norm() / centred.norm()) for code in dictionary.codes]
        best = sorted(range(M), key=lambda i: -cosines[i])[:3]
        assert_close(forward.reconstruction[t], sum(dictionary.codes[i] for i in best))
        assert sorted(forward.codes[t].nonzero().flatten().tolist()) == sorted(best)
        assert_close(forward.pre[t], torch.tensor(cosines, dtype=torch.float64))


def test_the_gradient_at_the_input_is_the_one_at_the_output():
    dictionary, x = moved(CONFIG), sample().requires_grad_()
    upstream = torch.randn(N, D, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    dictionary(x).reconstruction.backward(upstream)
    assert torch.equal(x.grad, upstream)


def test_gradients_of_the_codes_equal_finite_differences():
    check_slopes(moved(CONFIG), sample(), "codes")


def test_terms_equal_their_equations():
    dictionary, x = moved(CodebookConfig(n_latents=M, k=3, pull=2.0, commitment=0.25)), sample().requires_grad_()
    forward = dictionary(x)
    error = float((forward.reconstruction - x).detach().square().mean())
    terms = dictionary.penalty(forward, x, NONE_DEAD)
    assert {name: float(value.detach()) for name, value in terms.items()} == pytest.approx(
        {"pull": 2 * error, "commitment": error / 4}
    )
    (to_x,) = torch.autograd.grad(terms["pull"], x, allow_unused=True, retain_graph=True)
    (to_codes,) = torch.autograd.grad(terms["commitment"], dictionary.codes, allow_unused=True)
    assert to_x is None and to_codes is None


def test_groups_have_their_own_codes_and_pieces():
    config = CodebookConfig(n_latents=M, k=2, n_groups=2, mean=True)
    x = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    dictionary = make_dictionary(config, 6, torch.Generator().manual_seed(0), x)
    assert dictionary.codes.shape == (M, 3) and dictionary.decoder.shape == (M, 6)
    codes = dictionary.encode(x)
    assert torch.equal((codes[:, :6] > 0).sum(dim=1), torch.full((40,), 2))
    assert torch.equal((codes[:, 6:] > 0).sum(dim=1), torch.full((40,), 2))
    other = x.clone()
    other[:, 3:] = 7 - other[:, 3:]
    assert torch.equal(dictionary.encode(other)[:, :6], codes[:, :6])
    assert_close(dictionary.decode(codes)[0, :3], (codes[0, :6] @ dictionary.codes[:6]))


def test_an_activation_that_is_k_times_a_code_is_found():
    x = sample(60)
    dictionary = make_dictionary(CodebookConfig(n_latents=M, k=1), D, torch.Generator().manual_seed(0), x.float())
    forward = dictionary(dictionary.codes.detach())
    # the cosine is taken after layer norm, which may prefer another code: most find themselves
    same = (forward.codes.argmax(dim=1) == torch.arange(M)).double().mean()
    assert float(same) > 0.5


@pytest.mark.parametrize(
    "values, message",
    [
        ({"k": M + 1}, "k = 13 is more than the 12"),
        ({"n_groups": 5}, "cannot be shared out"),
        ({"n_groups": 6, "k": 3}, "of a group"),
    ],
)
def test_impossible_settings_are_refused(values, message):
    with pytest.raises(ConfigError, match=message):
        build(CodebookConfig, {"n_latents": M, "k": 3, **values})


def test_a_codebook_larger_than_the_data_is_refused():
    with pytest.raises(ConfigError, match="a codebook cannot be larger than its data"):
        make_dictionary(CONFIG, D, torch.Generator(), sample(M - 1).float())
    with pytest.raises(ConfigError, match="equal pieces"):
        make_dictionary(CodebookConfig(n_latents=M, k=1, n_groups=2), D, torch.Generator(), sample(30).float())
    rows = make_dictionary(
        CodebookConfig(n_latents=M, k=3, start="random"), D, torch.Generator().manual_seed(0), sample(3).float()
    )
    assert_close(rows.codes.norm(dim=1), sample(3).float().norm(dim=1).mean().expand(M) / 3)
