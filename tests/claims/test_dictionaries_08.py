"""Gradient dictionaries (g-SAE); `walker` holds scores of trained ones."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from pellucid.data import PlantedData
from pellucid.dictionaries import GradientConfig, TopKConfig, make_dictionary


class Readout(nn.Module):
    """y = 100 x_a + 0.01 x_b read as two classes, y and 0."""

    def __init__(self) -> None:
        super().__init__()
        self.out = nn.Linear(2, 2, bias=False)
        self.out.weight.data = torch.tensor([[100.0, 0.01], [0.0, 0.0]])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(x)


def test_dictionaries_08_1_beta_0_is_topk_bit_for_bit():
    data, states = PlantedData(), []
    for config in (TopKConfig(n_latents=64, k=3), GradientConfig(n_latents=64, k=3, beta=0.0)):
        dictionary = make_dictionary(config, 32, torch.Generator().manual_seed(0), data.train_batch(0, 256).inputs)
        optimizer = torch.optim.Adam(dictionary.parameters(), lr=1e-3)
        dead = torch.arange(64) % 7 == 0
        for step in range(20):
            x = data.train_batch(step, 128).inputs
            dictionary.guide(torch.randn(128, 32, generator=torch.Generator().manual_seed(step)))
            forward = dictionary(x)
            loss = (forward.reconstruction - x).square().mean() + sum(dictionary.penalty(forward, x, dead).values())
            optimizer.zero_grad()
            loss.backward()
            dictionary.before_step()
            optimizer.step()
            dictionary.after_step()
        states.append(dictionary.state_dict())
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


@pytest.mark.parametrize(("kind", "chosen"), [("gradient", 0), ("topk", 1)])
def test_dictionaries_08_2_the_gradient_chooses_what_matters(kind, chosen):
    net, x = Readout(), torch.tensor([[0.02, 0.021], [0.01, 0.02], [0.03, 0.05]])
    settings = {"n_latents": 2, "k": 1, "bias_init": "zeros"}
    dictionary = make_dictionary(GradientConfig(**settings) if kind == "gradient" else TopKConfig(**settings), 2)
    with torch.no_grad():
        for rows in (dictionary.encoder, dictionary.decoder):
            rows.copy_(torch.eye(2))
    leaf = x.clone().requires_grad_()
    loss = cross_entropy(net(leaf), torch.ones(3, dtype=torch.int64), reduction="sum")
    dictionary.guide(torch.autograd.grad(loss, leaf)[0])
    assert (dictionary(x).codes.argmax(dim=1) == chosen).all()


def test_dictionaries_08_3_lower_loss_at_equal_l0(walker):
    """Measured: CE increase 0.0144 against 0.0177, FVU 0.051 against 0.064 (selection without gradients in the scores)."""
    found = {name: walker[name] for name in ("beta 1", "topk")}
    assert found["beta 1"]["l0"] == pytest.approx(found["topk"]["l0"], abs=0.1)
    assert found["beta 1"]["ce_increase"] < found["topk"]["ce_increase"]
    assert found["beta 1"]["kl"] < found["topk"]["kl"] and found["beta 1"]["alive"] >= found["topk"]["alive"]
