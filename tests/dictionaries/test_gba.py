from __future__ import annotations

import pytest
import torch
from tests.dictionaries.naive import D, M, N, check_slopes, moved, sample
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import GbaConfig, make_dictionary

CONFIG = GbaConfig(n_latents=M, n_groups=3, highest=0.4, lowest=0.1, every=2, lower_rate=0.5, raise_rate=0.25)


def biased(config=CONFIG):
    dictionary = moved(config)
    with torch.no_grad():
        dictionary.encoder_bias.copy_(-torch.rand(M, generator=torch.Generator().manual_seed(3), dtype=torch.float64))
    return dictionary


def test_forward_equals_a_naive_loop():
    dictionary, x = biased().requires_grad_(False), sample()
    forward = dictionary(x)
    for t in range(N):
        wanted = dictionary.decoder_bias.detach().clone()
        for i in range(M):
            u = float(dictionary.encoder[i] @ (x[t] - dictionary.decoder_bias))
            z = u if u + float(dictionary.encoder_bias[i]) > 0 else 0.0
            assert float(forward.codes[t, i]) == pytest.approx(z, abs=1e-12)
            wanted += z * dictionary.gain[i].detach() * dictionary.encoder[i].detach()
        assert_close(forward.reconstruction[t].detach(), wanted)


def test_biases_adapt_as_a_naive_loop_says():
    dictionary, before = biased(), biased().encoder_bias.clone()
    batches = [sample(), 2 * sample(9) - 1]
    with torch.no_grad():
        dictionary.encoder_bias[5] = -100  # silent
        before[5] = -100
        dictionary.input_scale.fill_(0.9)
    pre = torch.cat([dictionary.preactivations(x).detach() for x in batches])
    dictionary.fired.zero_(), dictionary.peak.zero_(), dictionary.counted.zero_(), dictionary.updates.zero_()
    for x in batches:
        dictionary(x)
        dictionary.after_step()
    targets = [0.4, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.2, 0.1, 0.1, 0.1, 0.1]
    assert_close(dictionary.targets, torch.tensor(targets).float())
    peaks = [max(0.0, float(pre[:, i].max())) for i in range(M)]
    moves = set()
    for i in range(M):
        share = float((pre[:, i] > 0).double().mean())
        group = [peaks[j] for j in range(M) if targets[j] == targets[i] and peaks[j] > 0]
        if share > targets[i]:
            wanted, move = max(float(before[i]) - 0.5 * peaks[i], -0.9), "lowered"
        elif share < CONFIG.silent:
            wanted, move = min(float(before[i]) + 0.25 * sum(group) / max(1, len(group)), 0.0), "raised"
        else:
            wanted, move = float(before[i]), "left"
        assert float(dictionary.encoder_bias[i]) == pytest.approx(wanted, rel=1e-6), (i, move)
        moves.add(move)
    assert moves == {"lowered", "raised", "left"}
    assert float(dictionary.counted) == 0 and float(dictionary.fired.sum()) == 0


def test_gradients_equal_finite_differences_and_biases_have_none():
    dictionary = biased().eval()
    check_slopes(dictionary, sample(), "encoder", "gain", "decoder_bias")
    assert "encoder_bias" not in dict(dictionary.named_parameters())


def test_directions_stay_of_unit_length():
    dictionary, x = biased(), sample()
    optimizer = torch.optim.Adam(dictionary.parameters(), lr=0.1)
    for _ in range(3):
        (dictionary(x).reconstruction - x).square().mean().backward()
        dictionary.before_step()
        along = (dictionary.encoder.grad * dictionary.encoder).sum(dim=1)
        assert_close(along, torch.zeros_like(along), atol=1e-9, rtol=0)
        optimizer.step()
        optimizer.zero_grad()
        dictionary.after_step()
        assert_close(dictionary.encoder.norm(dim=1), torch.ones(M, dtype=torch.float64))


def test_inference_counts_nothing():
    dictionary = biased().eval()
    before = {key: value.clone() for key, value in dictionary.state_dict().items()}
    dictionary(sample())
    assert all(torch.equal(value, before[key]) for key, value in dictionary.state_dict().items())


@pytest.mark.parametrize("values", [{"n_groups": M + 1}, {"highest": 0.01, "lowest": 0.1}, {"every": 0}, {"highest": 1.5}])
def test_impossible_settings_are_refused(values):
    with pytest.raises(ConfigError, match=next(iter(values))):
        build(GbaConfig, {"n_latents": M, **values})


def test_a_file_with_positive_biases_is_named():
    dictionary = make_dictionary(CONFIG, D, torch.Generator().manual_seed(0), sample().float())
    dictionary.encoder_bias[3] = 0.5
    assert "encoder_bias" in dictionary.problems()[0]
