from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, SiteError
from pellucid.dictionaries import BatchTopKConfig, BatchTopKDictionary, TopKConfig, make_dictionary
from pellucid.dictionaries.batch_topk import keep_largest_of_batch

D, M, N, K = 6, 20, 33, 4


def sample(n: int = N, seed: int = 1) -> torch.Tensor:
    return torch.randn(n, D, generator=torch.Generator().manual_seed(seed)) + 0.5


def batch_topk(**values) -> BatchTopKDictionary:
    config = BatchTopKConfig(**{"n_latents": M, "k": K, **values})
    dictionary = make_dictionary(config, D, torch.Generator().manual_seed(0), sample())
    assert isinstance(dictionary, BatchTopKDictionary)
    with torch.no_grad():  # away from the symmetric start
        noise = torch.Generator().manual_seed(2)
        dictionary.encoder += 0.1 * torch.randn(dictionary.encoder.shape, generator=noise)
        dictionary.encoder_bias.uniform_(-0.2, 0.2, generator=noise)
    return dictionary


def naive(dictionary: BatchTopKDictionary, x: torch.Tensor, threshold: float | None):
    """Codes, reconstruction and smallest kept value in float64, entry by entry; a threshold of None is training."""
    p = {name: value.detach().double() for name, value in dictionary.state_dict().items()}
    codes = torch.zeros(len(x), M, dtype=torch.float64)
    for t in range(len(x)):
        for i in range(M):
            pre = sum(float(p["encoder"][i, j] * (x[t, j].double() - p["decoder_bias"][j])) for j in range(D))
            codes[t, i] = max(pre + float(p["encoder_bias"][i]), 0.0)
    smallest = sorted(codes.flatten().tolist(), reverse=True)[K * len(x) - 1]
    for t in range(len(x)):
        for i in range(M):
            kept = codes[t, i] >= smallest if threshold is None else codes[t, i] > threshold
            codes[t, i] = codes[t, i] if kept else 0.0
    reconstruction = torch.stack(
        [sum(codes[t, i] * p["decoder"][i] for i in range(M)) + p["decoder_bias"] for t in range(len(x))]
    )
    return codes, reconstruction, smallest


def test_training_equals_naive_loop():
    dictionary, x = batch_topk(), sample()
    codes, reconstruction, smallest = naive(dictionary, x, None)
    forward = dictionary(x)
    assert_close(forward.codes.double(), codes, rtol=0, atol=1e-5)
    assert_close(forward.reconstruction.double(), reconstruction, rtol=0, atol=1e-5)
    assert dictionary.threshold.item() == pytest.approx(smallest, abs=1e-6)


def test_inference_equals_naive_loop():
    dictionary, x = batch_topk(), sample()
    dictionary.threshold.fill_(0.6)
    dictionary.eval()
    codes, reconstruction, _ = naive(dictionary, x, float(dictionary.threshold))
    forward = dictionary(x)
    assert_close(forward.codes.double(), codes, rtol=0, atol=1e-5)
    assert_close(forward.reconstruction.double(), reconstruction, rtol=0, atol=1e-5)
    assert dictionary.threshold.item() == pytest.approx(0.6)


@pytest.mark.parametrize("k", [1, 3, M])
def test_a_batch_has_exactly_k_latents_a_token_and_tokens_differ(k):
    dictionary = batch_topk(k=k)
    with torch.no_grad():
        dictionary.encoder_bias.fill_(100.0)
    counts = (dictionary(sample()).codes > 0).sum(dim=1).double()
    assert counts.mean() == k
    assert (counts.std() > 0) == (k < M)


def test_fewer_positives_than_places_are_all_kept_and_the_smallest_is_0():
    pre = torch.tensor([[3.0, -1.0, -2.0], [-1.0, -3.0, -0.5]])
    codes, smallest = keep_largest_of_batch(pre, 2)
    assert codes.tolist() == [[3, 0, 0], [0, 0, 0]] and smallest == 0


def test_ties_fill_the_places_by_latent_then_row():
    pre = torch.tensor([[1.0, 2.0, 1.0], [1.0, 1.0, 0.5]])
    codes, smallest = keep_largest_of_batch(pre, 1)
    assert codes.tolist() == [[1, 2, 0], [0, 0, 0]] and smallest == 1
    codes, _ = keep_largest_of_batch(pre, 2)
    assert codes.tolist() == [[1, 2, 0], [1, 1, 0]]
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(1, 4, (50, 40), generator=generator).float()
    codes, _ = keep_largest_of_batch(rows, 8)
    assert (codes > 0).sum() == 8 * 50
    shuffled, _ = keep_largest_of_batch(rows[torch.randperm(50, generator=generator)], 8)
    assert torch.equal((shuffled > 0).sum(dim=0), (codes > 0).sum(dim=0)), "how often a latent is kept knows no order"
    assert torch.equal(shuffled.sort(dim=0).values, codes.sort(dim=0).values)


def test_training_does_not_depend_on_the_order_of_the_batch():
    dictionary, x = batch_topk(), sample()
    order = torch.randperm(N, generator=torch.Generator().manual_seed(3))
    assert_close(dictionary(x[order]).codes, dictionary(x).codes[order], rtol=0, atol=1e-6)


def test_inference_depends_on_the_row_alone():
    dictionary, x = batch_topk(), sample()
    dictionary(x)
    dictionary.eval()
    whole = dictionary(x).codes
    assert_close(torch.cat([dictionary(piece).codes for piece in x.split(5)]), whole, rtol=0, atol=1e-6)
    dictionary.train()
    pieces = torch.cat([dictionary(piece).codes for piece in x.split(5)])
    assert bool(((pieces > 0) != (dictionary(x).codes > 0)).any()), "training shares the places out over the batch"


@pytest.mark.parametrize("decay", [0.0, 0.5, 0.99])
def test_the_threshold_is_the_weighted_mean_of_the_smallest_kept_values(decay):
    dictionary, smallest = batch_topk(threshold_decay=decay), []
    for seed in range(6):
        smallest.append(naive(dictionary, sample(seed=seed), None)[2])
        dictionary(sample(seed=seed))
    weights = [decay ** (5 - batch) for batch in range(6)]
    wanted = sum(w * s for w, s in zip(weights, smallest, strict=True)) / sum(weights)
    assert dictionary.threshold.item() == pytest.approx(wanted, rel=1e-5)
    assert dictionary.threshold_weight.item() == pytest.approx(1 - decay**6, rel=1e-5)


def test_encoding_alone_does_not_move_the_threshold_nor_does_inference_or_an_empty_batch():
    dictionary, x = batch_topk(), sample()
    codes = dictionary.encode(x)
    assert dictionary.threshold == 0 and dictionary.threshold_weight == 0
    assert torch.equal(codes, dictionary(x).codes)
    before = dictionary.threshold.clone()
    assert dictionary(x[:0]).reconstruction.shape == (0, D)
    dictionary.eval()
    dictionary(2 * x)
    assert torch.equal(dictionary.threshold, before) and before > 0


def test_before_any_training_inference_keeps_every_positive():
    dictionary, x = batch_topk().eval(), sample()
    assert torch.equal(dictionary(x).codes, dictionary.preactivations(x).relu())


def test_gradients_by_finite_differences():
    dictionary = batch_topk().double()
    x = sample().double()
    target = torch.randn(N, D, dtype=torch.float64, generator=torch.Generator().manual_seed(5))

    def loss() -> torch.Tensor:
        return (dictionary(x).reconstruction - target).square().mean()

    parameters = dict(dictionary.named_parameters())
    grads = torch.autograd.grad(loss(), list(parameters.values()))
    step = 1e-6
    for (name, parameter), grad in zip(parameters.items(), grads, strict=True):
        flat = parameter.detach().view(-1)
        for i in range(0, flat.numel(), 7):
            at = float(flat[i])
            values = []
            for moved in (at + step, at - step):
                flat[i] = moved
                values.append(float(loss().detach()))
            flat[i] = at
            slope = (values[0] - values[1]) / (2 * step)
            assert float(grad.view(-1)[i]) == pytest.approx(slope, abs=1e-7), f"{name}[{i}]"


def test_the_auxiliary_term_is_that_of_topk():
    dictionary, x = batch_topk(), sample()
    twin = make_dictionary(TopKConfig(n_latents=M, k=K), D, sample=sample())
    twin.load_state_dict(dict(dictionary.named_parameters()))
    dead = torch.zeros(M, dtype=torch.bool)
    dead[[1, 4, 7]] = True
    forward = dictionary(x)
    found = dictionary.penalty(forward, x, dead)
    assert list(found) == ["auxiliary"] and found["auxiliary"] > 0
    assert torch.equal(found["auxiliary"], twin.penalty(forward, x, dead)["auxiliary"])


@pytest.mark.parametrize("x", [sample(1), torch.ones(5, D), torch.zeros(5, D)], ids=["one row", "constant", "zero"])
def test_one_row_and_constant_activations_train(x):
    dictionary = make_dictionary(BatchTopKConfig(n_latents=M, k=K), D, torch.Generator().manual_seed(0), x)
    dead = torch.zeros(M, dtype=torch.bool)
    dead[3] = True
    for _ in range(2):
        forward = dictionary(x)
        loss = (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, dead).values())
        loss.backward()
    assert float((forward.codes > 0).sum()) <= K * len(x)
    assert bool(loss.isfinite()) and all(p.grad is None or bool(p.grad.isfinite().all()) for p in dictionary.parameters())
    assert bool(dictionary.threshold.isfinite())


def test_dtypes():
    dictionary = batch_topk()
    assert dictionary(sample().half()).reconstruction.dtype == torch.float32
    with pytest.raises(SiteError, match="would round"):
        dictionary(sample().double())
    with pytest.raises(SiteError, match="width 6, got width 5"):
        dictionary(sample()[:, :5])


def test_k_beyond_width_is_refused():
    with pytest.raises(ConfigError, match="k = 9 latents per token cannot come from n_latents = 8"):
        build(BatchTopKConfig, {"n_latents": 8, "k": 9})
    assert BatchTopKConfig(n_latents=8, k=8).k == 8


@pytest.mark.parametrize("values", [{"k": 0}, {"aux_k": 0}, {"aux_coefficient": -1}, {"threshold_decay": 1.0}])
def test_bad_config_is_refused(values):
    with pytest.raises(ValueError):
        BatchTopKConfig(**values)
