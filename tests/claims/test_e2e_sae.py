"""What a correct implementation of end-to-end sparse dictionary learning must show (Braun et al. 2024, arXiv 2405.12241)."""

from __future__ import annotations

import math

import pytest
import torch
from torch.testing import assert_close

from pellucid.data import TensorData
from pellucid.dictionaries import Dictionary, FiringCounter, Forward, ReluConfig, make_dictionary
from pellucid.evaluation import evaluate
from pellucid.hosts import Host
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.divergence import Teacher, mean_kl, plain_kl
from pellucid.training import DictionaryConfig, EndToEnd, EndToEndDownstream, Evidence, FitConfig, Local
from pellucid.training.learner import Learner
from pellucid.training.schedule import learning_rate

WIDTH = 32


def _normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def _dictionary(d=WIDTH, n_latents=64, l1=1.0):
    return make_dictionary(ReluConfig(n_latents=n_latents, l1=l1), d, torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def host():
    """A Llama with weights large enough that a changed stream changes its output."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=WIDTH, intermediate_size=2 * WIDTH, num_hidden_layers=5, num_attention_heads=2, num_key_value_heads=1,
        vocab_size=50, max_position_embeddings=32, use_cache=False, initializer_range=0.3,
    )  # fmt: skip
    return Host(LlamaForCausalLM(config), name="llama")


class Tokens(TensorData):
    """Random token rows, each token labelled with the next."""

    def __init__(self, vocabulary: int, rows: int = 12, context: int = 10) -> None:
        ids = torch.randint(0, vocabulary, (rows, context + 1), generator=torch.Generator().manual_seed(1))
        super().__init__({"input_ids": ids[:, :-1].contiguous()}, ids[:, 1:].contiguous(), held_out=0.5)


def _shared(host, site, later=()):
    inputs = Tokens(50).train_batch(0, 3).inputs
    host.prepare(inputs, [site])
    head = host.find_head(inputs)
    return SharedPass(host, inputs, None, splice=[site], capture=list(later), head=head)


def _evidence(shared, site, dictionary, later=()):
    """What `dictionary` did, gradients flowing back to it."""
    spliced = shared.splice(site, lambda rows: dictionary(rows).reconstruction, later)
    kl = mean_kl(Teacher(shared.readout, shared.features), spliced.features)
    rows = shared.rows(site)
    pairs = [(shared.rows(s), spliced.values[s]) for s in later]
    return Evidence(rows, dictionary(rows).reconstruction, kl, pairs)


def test_e2e_sae_01_decoder_rows_have_unit_norm_in_the_forward_pass():
    dictionary = _dictionary()
    with torch.no_grad():
        dictionary.decoder.mul_(torch.logspace(-3, 3, 64).unsqueeze(1))
    moves = dictionary.decode(torch.eye(64)) - dictionary.decode(torch.zeros(1, 64))
    assert_close(moves.norm(dim=-1), torch.ones(64), atol=1e-6, rtol=0)
    assert_close(dictionary.atoms().norm(dim=-1), torch.ones(64), atol=1e-6, rtol=0)
    codes = dictionary.encode(_normal(20, WIDTH))
    by_hand = codes @ (dictionary.decoder / dictionary.decoder.norm(dim=-1, keepdim=True)) + dictionary.decoder_bias
    assert_close(dictionary(_normal(20, WIDTH)).reconstruction, by_hand, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize("objective", [Local(), EndToEnd(), EndToEndDownstream()], ids=lambda o: o.kind)
def test_e2e_sae_01_rescaling_the_stored_decoder_changes_neither_output_nor_loss(host, objective):
    site, dictionary = host.site("layers.1"), _dictionary()
    shared = _shared(host, site, later := host.downstream(site))

    def measure():
        with torch.no_grad():
            evidence = _evidence(shared, site, dictionary, later)
            forward = dictionary(evidence.activations)
            penalty = dictionary.penalty(forward, evidence.activations, torch.zeros(64, dtype=torch.bool))
            return forward.reconstruction, objective.terms(evidence) | penalty

    output, loss = measure()
    with torch.no_grad():
        dictionary.decoder.mul_(10.0)
    scaled_output, scaled_loss = measure()
    assert_close(scaled_output, output, atol=1e-6, rtol=1e-6)
    assert_close(scaled_loss, loss, atol=1e-6, rtol=1e-6)


class Fixed(Dictionary):
    """A dictionary with a reconstruction that is not learnt: its input, or one row for every position."""

    kind = "fixed"

    def __init__(self, d: int, row: torch.Tensor | None = None) -> None:
        super().__init__(ReluConfig(n_latents=d), d)
        self.row = row

    def forward(self, x):
        return Forward(pre=x, reconstruction=x.clone() if self.row is None else self.row.expand_as(x), dense=x.relu())


SITES = ("embed", "layers.0.input", "layers.0", "layers.1.attn", "layers.2.attn.z", "layers.2.mlp.hidden", "layers.4", "norm")


@pytest.mark.parametrize("name", SITES)
def test_e2e_sae_02_the_identity_loses_nothing_at_any_site(host, name):
    data, site = Tokens(50), host.site(name)
    width = host.widths(data.train_batch(0, 1).inputs)[name]
    scores = evaluate(host, {"identity": (Fixed(width), site)}, data)["identity"]
    assert 0 <= scores["kl"] < 1e-6 and abs(scores["ce_increase"]) < 1e-5
    assert all(error == 0 for error in scores["downstream_mse"].values())
    assert set(scores["downstream_mse"]) == {str(later) for later in host.downstream(site, last=True)}


@pytest.mark.parametrize("name", SITES)
def test_e2e_sae_02_the_mean_activation_loses_clearly(host, name):
    data, site = Tokens(50), host.site(name)
    rows = host.run(data.train_batch(0, 6).inputs, capture=[site], stop=True).values[site]
    mean = rows.flatten(0, -2).mean(0)
    scores = evaluate(host, {"mean": (Fixed(len(mean), mean), site)}, data)["mean"]
    assert scores["kl"] > 0.01
    assert scores["ce_spliced"] == pytest.approx(scores["ce_mean_ablation"], abs=1e-5)


@pytest.fixture(scope="module")
def smollm2():
    return Host.load("smollm2")


@pytest.mark.parametrize("name", ["layers.0", pytest.param("layers.14", marks=pytest.mark.evidence), "layers.29"])
def test_e2e_sae_02_identity_and_mean_on_smollm2(smollm2, name):
    data, site = Tokens(40_000, rows=4, context=16), smollm2.site(name)
    rows = smollm2.run(data.train_batch(0, 2).inputs, capture=[site], stop=True).values[site]
    mean = rows.flatten(0, -2).mean(0)
    both = {"identity": (Fixed(576), site), "mean": (Fixed(576, mean), site)}
    scores = evaluate(smollm2, both, data)
    assert 0 <= scores["identity"]["kl"] < 1e-6 and abs(scores["identity"]["ce_increase"]) < 1e-5
    assert all(error == 0 for error in scores["identity"]["downstream_mse"].values())
    assert scores["mean"]["kl"] > 0.1


def _slow_kl(original, spliced):
    """sum_v p (log p - log q) for each row, one class at a time, in Python's floats."""
    found = []
    for a, b in zip(original.tolist(), spliced.tolist(), strict=True):
        za, zb = (math.log(math.fsum(math.exp(v) for v in row)) for row in (a, b))
        found.append(math.fsum(math.exp(u - za) * ((u - za) - (v - zb)) for u, v in zip(a, b, strict=True)))
    return found


def test_e2e_sae_03_kl_is_original_to_spliced_and_differs_from_the_reverse():
    original, spliced = 2 * _normal(9, 40), 2 * _normal(9, 40, seed=1)
    forward, reverse = _slow_kl(original, spliced), _slow_kl(spliced, original)
    assert plain_kl(original, spliced).tolist() == pytest.approx(forward, abs=1e-6, rel=1e-6)
    assert plain_kl(original, spliced, reverse=True).tolist() == pytest.approx(reverse, abs=1e-6, rel=1e-6)
    teacher = Teacher(torch.nn.Identity(), original)
    assert float(mean_kl(teacher, spliced)) == pytest.approx(math.fsum(forward) / 9, abs=1e-6, rel=1e-6)
    assert float(mean_kl(teacher, spliced, reverse=True)) == pytest.approx(math.fsum(reverse) / 9, abs=1e-6, rel=1e-6)
    assert abs(math.fsum(forward) - math.fsum(reverse)) / 9 > 0.01


def test_e2e_sae_03_the_default_objectives_take_original_to_spliced():
    assert not EndToEnd().reverse and not EndToEndDownstream().reverse and not Local().reverse
    assert EndToEnd(direction="spliced_original").reverse


@pytest.mark.parametrize("objective", [EndToEnd(), EndToEndDownstream()], ids=lambda o: o.kind)
def test_e2e_sae_04_no_gradient_reaches_the_frozen_model(host, objective):
    config = DictionaryConfig(site="layers.1", architecture=ReluConfig(n_latents=64), objective=objective)
    learner = Learner("d", config, FitConfig(dictionaries={"d": config}), host, _dictionary())
    before = {name: value.clone() for name, value in host.module.state_dict().items()}
    with host.held():
        shared = _shared(host, learner.site, learner.downstream)
        learner.update(shared, Teacher(shared.readout, shared.features), 1e-3, 0)
        assert not any(parameter.requires_grad for parameter in host.module.parameters())
    assert all(parameter.grad is None for parameter in host.module.parameters())
    assert all(torch.equal(before[name], value) for name, value in host.module.state_dict().items())
    seen = {name: learner.optimizer.state[parameter]["exp_avg"] for name, parameter in learner.dictionary.named_parameters()}
    assert all(bool(moment.any()) for moment in seen.values()), "but it reaches the dictionary"


@pytest.mark.parametrize("objective", [EndToEnd(), EndToEndDownstream()], ids=lambda o: o.kind)
def test_e2e_sae_04_the_error_at_the_own_layer_has_no_part_in_loss_or_gradient(host, objective):
    site = host.site("layers.1")
    assert site not in objective.downstream(host, site)
    shared = _shared(host, site, later := objective.downstream(host, site))
    losses, gradients = [], []
    for scale in (1.0, 10.0):
        dictionary = _dictionary()
        evidence = _evidence(shared, site, dictionary, later)
        error = evidence.reconstruction - evidence.activations
        evidence.reconstruction = evidence.activations + scale * error
        terms = objective.terms(evidence)
        assert "mse" not in terms
        sum(terms.values()).backward()
        losses.append({name: float(term.detach()) for name, term in terms.items()})
        gradients.append([parameter.grad for parameter in dictionary.parameters()])
    assert losses[0] == losses[1]
    assert all(torch.equal(a, b) for a, b in zip(*gradients, strict=True))
    own = Local().terms(evidence)["mse"]
    assert float(own.detach()) == pytest.approx(100 * float(error.detach().square().mean()), rel=1e-5), (
        "local would have changed"
    )


def test_e2e_sae_04_beta_is_split_over_the_later_sites():
    x, rows = _normal(7, 5), _normal(7, 5, seed=1)
    objective = EndToEndDownstream(downstream_coefficient=2.5)
    losses = [
        float(objective.terms(Evidence(x, rows, torch.tensor(0.3), [(x, rows)] * n))["downstream"]) for n in (1, 2, 5, 11)
    ]
    assert losses == pytest.approx([2.5 * float((x - rows).square().mean())] * 4, rel=1e-6)
    assert float(objective.terms(Evidence(x, rows, torch.tensor(0.3), [(x, rows)]))["kl"]) == pytest.approx(0.5 * 0.3)


def test_e2e_sae_05_halving_the_width_doubles_the_weight_of_l1_only():
    error, codes = 0.25 * _normal(11, 1).sign(), _normal(11, 64, seed=1).relu()
    mse, sparsity = [], []
    for d in (32, 16):
        x = _normal(11, d, seed=2)
        forward = Forward(pre=codes, reconstruction=x + error, dense=codes)
        mse.append(float(Local().terms(Evidence(x, forward.reconstruction))["mse"]))
        penalty = _dictionary(d, l1=3.0).penalty(forward, x, torch.zeros(64, dtype=torch.bool))
        assert set(penalty) == {"sparsity"}
        sparsity.append(float(penalty["sparsity"]))
    assert mse == pytest.approx([0.0625, 0.0625], rel=1e-5)
    assert sparsity[0] == pytest.approx(3.0 / 32 * float(codes.sum(-1).mean()), rel=1e-6)
    assert sparsity[1] == pytest.approx(2 * sparsity[0], rel=1e-6)


def test_e2e_sae_06_learning_rate_trace():
    config = FitConfig(dictionaries={"d": DictionaryConfig(site="layers.6")})
    updates = 25_000
    settings = {"peak": config.dictionaries["d"].lr, "warmup": round(config.warmup * updates), "final": config.final_lr}
    trace = [learning_rate(step, total=updates, **settings) for step in range(updates + 1)]
    assert settings["warmup"] == 1250
    assert trace[0] == 0 and trace[1250] == pytest.approx(5e-4, rel=1e-12) and trace[25_000] == pytest.approx(5e-5, rel=1e-12)
    assert max(trace) == trace[1250] and trace[625] == pytest.approx(2.5e-4)
    assert min(trace[1250:]) == trace[-1]


def test_e2e_sae_10_one_firing_is_alive_and_none_is_dead():
    codes = torch.zeros(100, 5)
    codes[:, 0], codes[73, 2], codes[5, 4] = 1.0, 1e-30, 0.0
    counter = FiringCounter(5)
    for part in codes.split(7):
        counter.update(part)
    assert counter.alive() == 2 and (counter.firings > 0).tolist() == [True, False, True, False, False]
    assert counter.l0() == 101 / 100


def test_e2e_sae_10_l0_and_alive_agree_with_a_brute_force_recount(host):
    data, site, dictionary = Tokens(50), host.site("layers.1"), _dictionary(n_latents=256)
    with torch.no_grad():
        dictionary.encoder_bias.copy_(torch.linspace(-12.0, 2.0, 256))
    scores = evaluate(host, {"d": (dictionary, site)}, data, batch_rows=4)["d"]
    active, seen, tokens = 0, set(), 0
    for batch in data.held_out_batches(1):
        with torch.no_grad():
            rows = host.run(batch.inputs, capture=[site], stop=True).values[site].flatten(0, 1)
            codes = dictionary.encode(rows).tolist()
        for row in codes:
            firing = [latent for latent, code in enumerate(row) if code > 0]
            active, tokens = active + len(firing), tokens + 1
            seen.update(firing)
    assert scores["alive"] == len(seen) and 0 < len(seen) < 256, "some alive, some dead"
    assert scores["l0"] == active / tokens and scores["alive_tokens"] == tokens == 60
