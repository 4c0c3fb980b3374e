"""Planted lattices, found again from noisy vectors and hidden states."""

from __future__ import annotations

import numpy as np
import pytest

from pellucid.programs.states.lattice import Lattice, euclid, gcd_lattice, linear_lattice, lll, reduce_integer, shorter


def same_lattice(a: np.ndarray, b: np.ndarray, atol: float) -> None:
    """Each basis is whole in the other."""
    assert len(a) == len(b)
    for x, y in ((a, b), (b, a)):
        inner = np.linalg.lstsq(x.T, y.T, rcond=None)[0]
        assert np.abs(inner - np.rint(inner)).max() < atol
        assert np.abs(inner.T @ x - y).max() < atol * np.abs(y).max()


def planted_basis(seed: int, rank: int, width: int) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return np.linalg.qr(generator.normal(size=(width, width)))[0][:rank] * generator.uniform(0.7, 1.5, (rank, 1))


@pytest.mark.parametrize(("rank", "width"), [(1, 3), (2, 2), (2, 5), (3, 4), (4, 6)])
def test_lll_keeps_the_lattice_and_reduces_it(rank, width):
    generator = np.random.default_rng(rank)
    basis = planted_basis(rank, rank, width)
    unimodular = np.tril(generator.integers(-9, 10, (rank, rank)), -1) + np.eye(rank)
    skew = unimodular.T @ unimodular @ basis
    reduced = lll(skew)
    same_lattice(reduced, basis, 1e-6)
    _, r = np.linalg.qr(reduced.T)
    star, mu = np.abs(np.diag(r)), (r / np.diag(r)[:, None]).T
    for k in range(1, rank):
        assert np.abs(mu[k, :k]).max() <= 0.5 + 1e-9  # size-reduced
        assert star[k] ** 2 >= (0.75 - mu[k, k - 1] ** 2) * star[k - 1] ** 2 - 1e-9  # Lovasz


def test_integer_bases_stay_whole():
    reduced = reduce_integer(np.array([[101, 0], [57, 1]]))
    same_lattice(reduced.astype(float), np.array([[101.0, 0], [57, 1]]), 1e-9)
    assert np.linalg.norm(reduced, axis=1).max() < 20


@pytest.mark.parametrize("seed", range(5))
def test_euclid_on_vectors_is_the_greatest_common_divisor(seed):
    generator = np.random.default_rng(seed)
    step = planted_basis(seed, 1, 4)
    numbers = np.array([[6], [10], [15]])
    found = euclid(numbers @ step + 1e-4 * generator.normal(size=(3, 4)), 0.05)
    same_lattice(found, step, 0.02)
    same_lattice(euclid(np.array([[6.0], [9]]), 0.1), np.array([[3.0]]), 1e-9)
    assert len(euclid(np.zeros((2, 3)), 0.1)) == 0


@pytest.mark.parametrize("rank", [1, 2, 3, 4])
@pytest.mark.parametrize("seed", range(3))
def test_lattices_are_recovered_from_hidden_states_with_noise(seed, rank):
    generator = np.random.default_rng(seed)
    basis, origin = planted_basis(seed, rank, 5), generator.normal(size=5)
    z = generator.integers(0, 6, (120, rank))
    hidden = z @ basis + origin + 0.005 * generator.normal(size=(120, 5))
    lattice = gcd_lattice(hidden, hidden[0], 0.2)
    assert lattice is not None and lattice.error(hidden) < 0.04
    same_lattice(lattice.basis, basis, 0.02)
    coordinates = lattice.coordinates(hidden)
    assert np.abs(coordinates @ lattice.basis + lattice.origin - hidden).max() < 0.04
    assert len(np.unique(coordinates, axis=0)) == len(np.unique(z, axis=0))


def test_lattices_of_rank_five_or_none_are_refused():
    hidden = np.random.default_rng(0).normal(size=(50, 6))
    assert gcd_lattice(hidden, hidden[0], 0.01) is None
    assert gcd_lattice(np.ones((9, 3)), np.ones(3), 0.1) is None


@pytest.mark.parametrize("seed", range(3))
def test_the_linear_lattice_is_that_of_powers_of_the_recurrent_map_on_the_inputs(seed):
    generator = np.random.default_rng(seed)
    change = planted_basis(seed, 2, 2)
    z, x = generator.integers(-4, 5, (200, 2)), generator.integers(-3, 4, (200, 1))
    after = z @ np.array([[1, 0], [1, 1]]) + x @ np.array([[0, 2]])  # s1' = s1 + s2, s2' = s2 + 2 x
    noise = 1e-3 * generator.normal(size=(200, 2))
    lattice = linear_lattice(z @ change, x.astype(float), after @ change + noise, 0.1)
    assert lattice is not None
    same_lattice(lattice.basis, 2 * change, 0.05)


def test_of_two_lattices_the_shorter_description_is_kept():
    hidden = 3.0 * np.arange(8)[:, None]
    coarse, fine = Lattice(np.array([[3.0]]), np.zeros(1)), Lattice(np.array([[1.0]]), np.zeros(1))
    assert coarse.description_length(hidden) < fine.description_length(hidden)
    assert shorter([None, fine, coarse], hidden) is coarse and shorter([None], hidden) is None
    z = np.arange(8)
    assert coarse.description_length(hidden) == pytest.approx(np.log2(1 + z).mean(), abs=1e-6)
