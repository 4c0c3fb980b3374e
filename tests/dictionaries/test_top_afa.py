from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import NONE_DEAD, D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.dictionaries import TopAfaConfig


def test_the_chosen_number_of_latents_is_the_best_of_all_by_brute_force():
    dictionary, x = moved(TopAfaConfig(n_latents=M)).requires_grad_(False), sample()
    codes, sizes = dictionary.encode(x), set()
    for t in range(N):
        centred = x[t] - dictionary.decoder_bias
        a = [max(float(dictionary.encoder[i] @ centred + dictionary.encoder_bias[i]), 0.0) for i in range(M)]
        order = sorted(range(M), key=lambda i: -a[i])
        gaps = [abs(sum(a[i] ** 2 for i in order[:k]) ** 0.5 - float(centred.norm())) for k in range(1, M + 1)]
        best = min(range(M), key=gaps.__getitem__) + 1
        wanted = {i: a[i] for i in order[:best] if a[i] > 0}
        assert {i: float(codes[t, i]) for i in codes[t].nonzero().flatten().tolist()} == pytest.approx(wanted)
        sizes.add(len(wanted))
    assert len(sizes) > 1


def test_loss_terms_equal_a_naive_loop():
    dictionary, x = moved(TopAfaConfig(n_latents=M, afa_coefficient=0.5)).requires_grad_(False), sample()
    forward = dictionary(x)
    gaps = [float(forward.codes[t].norm() - (x[t] - dictionary.decoder_bias).norm()) ** 2 for t in range(N)]
    assert float(dictionary.penalty(forward, x, NONE_DEAD)["afa"]) == pytest.approx(0.5 / D * sum(gaps) / N)
    assert dictionary.penalty(forward, x, ~NONE_DEAD).keys() == {"afa", "auxiliary"}


def test_gradients_equal_finite_differences():
    dictionary = moved(TopAfaConfig(n_latents=M))
    check_slopes(dictionary, sample(), "encoder", "encoder_bias", "decoder", "decoder_bias")


def test_the_norm_term_moves_codes_and_not_the_activation():
    dictionary, x = moved(TopAfaConfig(n_latents=M, afa_coefficient=1.0)), sample().requires_grad_()
    dictionary.penalty(dictionary(x), x, NONE_DEAD)["afa"].backward()
    assert float(dictionary.encoder.grad.abs().max()) > 0
    assert dictionary.decoder.grad is None


def test_rows_do_not_depend_on_their_batch_and_zero_rows_are_handled():
    dictionary, x = moved(TopAfaConfig(n_latents=M)).requires_grad_(False), sample()
    assert_close(torch.cat([dictionary.encode(piece) for piece in x.split(3)]), dictionary.encode(x))
    at_centre = dictionary.decoder_bias.detach().expand(2, D)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(-1)
    assert float(dictionary.encode(at_centre).abs().sum()) == 0
    dictionary.penalty(dictionary(at_centre), at_centre, NONE_DEAD)


def test_there_is_no_k():
    assert not {"k", "top_k"} & set(TopAfaConfig.model_fields)
