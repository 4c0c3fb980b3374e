from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.errors import ConfigError, NumericsError
from pellucid.dictionaries import ARCHITECTURES, make_dictionary
from pellucid.dictionaries.directions import start_directions
from pellucid.dictionaries.initial import geometric_median, initial_bias, random_unit_rows


def test_geometric_median_ignores_planted_outliers():
    generator = torch.Generator().manual_seed(0)
    centre = torch.linspace(-2, 2, 5)
    half = torch.randn(200, 5, generator=generator)
    points = torch.cat([centre + half, centre - half])  # symmetric: mean and geometric median are the centre
    assert_close(geometric_median(points).float(), centre, rtol=0, atol=1e-4)
    spoiled = torch.cat([points, torch.full((20, 5), 1e4)])
    assert (geometric_median(spoiled).float() - centre).abs().max() < 0.2
    assert (spoiled.mean(dim=0) - centre).abs().max() > 400


def test_geometric_median_has_the_least_summed_distance():
    points = torch.randn(50, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).exp()
    median = geometric_median(points)
    best = (points - median).norm(dim=1).sum()
    for step in torch.randn(50, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64):
        assert (points - median - 0.01 * step).norm(dim=1).sum() >= best


def test_geometric_median_at_a_data_point_and_of_equal_points():
    points = torch.tensor([[0.0, 0.0], [1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])
    assert_close(geometric_median(points).float(), torch.zeros(2), rtol=0, atol=1e-6)
    assert_close(geometric_median(torch.full((4, 3), 2.5)).float(), torch.full((3,), 2.5))
    assert_close(geometric_median(torch.tensor([[1.0, 2.0]])).float(), torch.tensor([1.0, 2.0]))


def test_geometric_median_moves_with_the_points():
    points = torch.randn(80, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    assert_close(geometric_median(3 * points + 7), 3 * geometric_median(points) + 7, rtol=0, atol=1e-6)
    assert_close(geometric_median(points.flip(0)), geometric_median(points), rtol=0, atol=1e-7)


def test_unit_rows_are_unit_and_seeded():
    rows = random_unit_rows(30, 7, torch.Generator().manual_seed(4))
    assert_close(rows.norm(dim=1), torch.ones(30), rtol=0, atol=1e-6)
    assert torch.equal(rows, random_unit_rows(30, 7, torch.Generator().manual_seed(4)))


def test_refusals():
    with pytest.raises(ConfigError, match="needs a sample of activations"):
        initial_bias("geometric_median", None, 3)
    with pytest.raises(ConfigError, match="needs a sample of activations"):
        initial_bias("mean", torch.zeros(0, 3), 3)
    with pytest.raises(ConfigError, match="sample has width 4, the dictionary reads width 3"):
        initial_bias("mean", torch.zeros(2, 4), 3)
    with pytest.raises(NumericsError, match="not finite"):
        initial_bias("mean", torch.tensor([[float("nan"), 0.0]]), 2)


def test_directions_to_start_along():
    draw = lambda: torch.Generator().manual_seed(0)  # noqa: E731
    orthogonal = start_directions("orthogonal", 10, 4, 0.1, generator=draw())
    for block in orthogonal.split(4):
        assert_close(block @ block.T, torch.eye(len(block)), rtol=0, atol=1e-5)
    basis = start_directions("basis", 10, 4, 0.0)
    assert torch.equal(basis, torch.cat([torch.eye(4), -torch.eye(4), torch.eye(4)])[:10])
    weights = torch.randn(4, 6, generator=draw())
    left = torch.linalg.svd(weights.double())[0].T.float()
    assert_close(start_directions("weights", 8, 4, 0.0, weights=weights), torch.cat([left, -left]))
    rows = torch.randn(5, 4, generator=draw())
    data = start_directions("data", 7, 4, 0.0, sample=rows, generator=draw())
    centred = torch.nn.functional.normalize(rows - rows.mean(dim=0), dim=1)
    assert_close((data @ centred.T).amax(dim=1), torch.ones(7)) and torch.equal(data[5:], data[:2])
    noised = start_directions("basis", 400, 4, 0.5, generator=draw())
    assert_close(noised.norm(dim=1), torch.ones(400))
    tilt = (noised * start_directions("basis", 400, 4, 0.0)).sum(dim=1)  # cos of a unit vector moved by 0.5 at random
    assert 0.85 < float(tilt.mean()) < 0.95 and float(tilt.std()) > 0.02


@pytest.mark.parametrize("kind", [kind for kind in ARCHITECTURES if kind not in ("archetypal", "latent_quantization")])
def test_every_architecture_starts_along_them(kind):
    rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    small = {"k": 2} if "k" in ARCHITECTURES[kind].Config.model_fields else {}
    small |= {"winners": 1.0} if kind == "snmf" else {}
    settings = {"n_latents": 20, **small}
    config = ARCHITECTURES[kind].Config(**settings, atom_init="basis", atom_noise=0.0)
    own = make_dictionary(ARCHITECTURES[kind].Config(**settings), 6, torch.Generator().manual_seed(0), rows)
    made = make_dictionary(config, 6, torch.Generator().manual_seed(0), rows)
    with torch.no_grad():
        wanted = torch.cat([torch.eye(6), -torch.eye(6)] * 2)[:20]
        assert_close((made.atoms() * wanted).sum(dim=1), torch.ones(20))
        if kind != "threshold":  # of unit length under an inner product of its own
            assert_close(made.decoder.norm(dim=1), own.decoder.norm(dim=1))
        along = torch.nn.functional.cosine_similarity(own.encoder, own.decoder, dim=1).min()
        if along > 0.999:
            assert_close(torch.nn.functional.cosine_similarity(made.encoder, made.decoder, dim=1), torch.ones(20))


def test_atoms_that_are_made_of_something_else_are_refused():
    rows = torch.randn(200, 6, generator=torch.Generator().manual_seed(0))
    for kind in ("archetypal", "latent_quantization"):
        small = {"k": 2} if kind == "archetypal" else {}
        config = ARCHITECTURES[kind].Config(n_latents=20, atom_init="basis", **small)
        with pytest.raises(ConfigError, match=f"the atoms of a {kind} dictionary are not free to start anywhere"):
            make_dictionary(config, 6, None, rows)
    with pytest.raises(ConfigError, match="atom_init 'weights' needs weights of the site, got none"):
        start_directions("weights", 3, 4, 0.1)
    with pytest.raises(ConfigError, match="the sample are for width 3, the atoms have 4"):
        start_directions("data", 3, 4, 0.1, sample=torch.ones(2, 3))
    with pytest.raises(NumericsError, match="all equal"):
        start_directions("data", 3, 3, 0.1, sample=torch.ones(2, 3))
    with pytest.raises(NumericsError, match="all zero or not finite"):
        start_directions("weights", 3, 3, 0.1, weights=torch.zeros(3, 2))
