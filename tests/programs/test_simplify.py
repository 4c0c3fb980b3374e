"""Normalisers: exact changes of basis, each with the property it promises and the error it makes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from pellucid.programs.ensembles.members import network_of, new_members
from pellucid.programs.networks import RecurrentNetwork, Shape, run
from pellucid.programs.simplify import simplify
from pellucid.programs.simplify.basis import change_basis, hidden_states, readable, recurrent_map
from pellucid.programs.simplify.biases import debiased, quantised, share_whole
from pellucid.programs.simplify.jordan import jordan_basis
from pellucid.programs.simplify.pipeline import NORMALISERS
from pellucid.programs.simplify.toeplitz import blocks, toeplitz_basis
from pellucid.programs.simplify.whitening import whitening

SHAPES = [Shape(1), Shape(3), Shape(4, 2, 6, 2, 5), Shape(2, 3, 5, 1, 0)]


def random_network(shape: Shape, seed: int = 0, n_in: int = 2, n_out: int = 2) -> RecurrentNetwork:
    return network_of(new_members(shape, n_in, n_out, [seed], torch.float64), 0)


def affine_network(w, v, b=None, c=None, d=None) -> RecurrentNetwork:
    """h' = W h + V x + b, y = C h + d."""
    w, v = np.array(w, float), np.array(v, float)
    n, n_in = len(w), v.shape[1]
    c = np.eye(n) if c is None else np.array(c, float)
    b, d = np.zeros(n) if b is None else np.array(b, float), np.zeros(len(c)) if d is None else np.array(d, float)
    f = [(torch.from_numpy(np.concatenate([w, v], 1)), torch.from_numpy(b))]
    return RecurrentNetwork(Shape(n), n_in, len(c), f, [(torch.from_numpy(c), torch.from_numpy(d))])


def inputs(n_in: int = 2, n: int = 40, steps: int = 9, seed: int = 1) -> torch.Tensor:
    return torch.randint(-3, 4, (n, steps, n_in), generator=torch.Generator().manual_seed(seed)).double()


def basis(n: int, seed: int) -> np.ndarray:
    """An invertible matrix with condition number 4 that is no rotation."""
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.normal(size=(n, n)))[0] for _ in range(2))
    return left @ np.diag(np.linspace(0.5, 2, n)) @ right


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_change_of_basis_leaves_inputs_to_outputs_alone_and_has_an_inverse(shape):
    network, xs = random_network(shape), inputs()
    s = basis(shape.hidden, 3)
    changed = change_basis(network, s)
    assert_close(run(changed, xs), run(network, xs), atol=1e-9, rtol=0)
    assert_close(hidden_states(changed, xs), hidden_states(network, xs) @ s.T, atol=1e-9, rtol=0)
    back = change_basis(changed, np.linalg.inv(s))
    for name, tensor in network.tensors().items():
        assert_close(back.tensors()[name], tensor, atol=1e-12, rtol=0)


def test_the_recurrent_map_is_the_product_of_the_weights_of_f():
    network = random_network(Shape(3, 3, 4))
    (a, _), (b, _), (c, _) = network.f
    assert_close(recurrent_map(network), (c @ (b @ a)).numpy())
    w = recurrent_map(affine_network([[1, 2], [3, 4]], [[5], [6]]))
    assert w.tolist() == [[1, 2, 5], [3, 4, 6]]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_whitened_states_have_the_identity_as_second_moment(shape):
    network, xs = random_network(shape, seed=5), 4 * inputs()
    s = whitening(hidden_states(network, xs), tolerance=1e-9)
    assert_close(s, s.T)
    white = hidden_states(change_basis(network, s), xs)
    assert_close(white.T @ white / len(white), np.eye(shape.hidden), atol=1e-9, rtol=0)


def test_whitening_leaves_directions_without_variance_as_they_are():
    hidden = np.random.default_rng(0).normal(size=(5000, 3)) * np.array([10, 2, 1e-6])
    s = whitening(hidden)
    moments = (hidden @ s).T @ (hidden @ s) / len(hidden)
    assert np.abs(np.diag(moments)[:2] - 1).max() < 1e-9
    assert abs(s[2, 2] - 1) < 1e-6, "an eigenvalue below the tolerance counts as 1"


JORDAN = {
    "distinct": np.diag([2.0, 1.0, -1.0]),
    "one block": np.array([[1.0, 1, 0], [0, 1, 1], [0, 0, 1]]),
    "two blocks": np.array([[1.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, -1, 1], [0, 0, 0, -1]]),
    "equal eigenvalues in two blocks": np.array([[1.0, 1, 0], [0, 1, 0], [0, 0, 1]]),
    "shift register": np.eye(4, k=1),
    "rotation": np.array([[0.0, 1], [-1, 0]]),
    "rotation and a number": np.array([[2.0, 0, 0], [0, 0, 1], [0, -1, 0]]),
}


def same_blocks(found: np.ndarray, planted: np.ndarray) -> None:
    """Jordan forms are equal up to the order of blocks: eigenvalues, and ranks of powers of W - lambda."""
    for value in np.linalg.eigvals(planted):
        for k in range(1, len(planted) + 1):
            ranks = [
                np.linalg.matrix_rank(np.linalg.matrix_power(m - value * np.eye(len(m)), k), 1e-5) for m in (found, planted)
            ]
            assert ranks[0] == ranks[1], (value, k)


def canonical(form: np.ndarray) -> np.ndarray:
    """The real Jordan form that the rows above the diagonal stand for: anything else must be 0."""
    allowed = np.diag(np.diag(form)) + np.diag(np.diag(form, 1), 1)
    for i in range(len(form) - 1):
        if abs(form[i + 1, i]) > 1e-6:  # a complex pair
            assert abs(form[i + 1, i] + form[i, i + 1]) < 1e-6 and abs(form[i, i] - form[i + 1, i + 1]) < 1e-6
            allowed[i + 1, i] = form[i + 1, i]
        else:
            assert min(abs(form[i, i + 1]), abs(form[i, i + 1] - 1)) < 1e-6
    return allowed


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", JORDAN)
def test_jordan_blocks_come_back_from_behind_a_random_basis(kind, seed):
    planted = JORDAN[kind]
    p = basis(len(planted), seed)
    w = np.linalg.inv(p) @ planted @ p
    s = jordan_basis(w)
    assert s is not None
    form = s @ w @ np.linalg.inv(s)
    assert_close(form, canonical(form), atol=1e-6, rtol=0)
    same_blocks(form, planted)


def test_near_eigenvalues_are_merged_into_one_block():
    w = np.array([[1.0, 1], [0, 1.01]])
    s = jordan_basis(w)
    assert s is not None
    form = s @ w @ np.linalg.inv(s)
    assert abs(form[0, 1] - 1) < 0.02 and np.abs(np.diag(form) - 1.005).max() < 0.02 and abs(form[1, 0]) < 0.02
    fine = jordan_basis(w, tolerance=1e-4)  # finer than the gap: two blocks, in a basis 100 times as skew
    assert fine is not None and abs((fine @ w @ np.linalg.inv(fine))[0, 1]) < 1e-9


@pytest.mark.parametrize("seed", range(4))
def test_toeplitz_brings_the_input_of_each_block_to_its_last_place(seed):
    generator = np.random.default_rng(seed)
    w = JORDAN["two blocks"]
    v = generator.normal(size=(4, 1))
    v[[1, 3]] += np.sign(v[[1, 3]])
    s = toeplitz_basis(w, v)
    assert s is not None
    assert_close(s @ w @ np.linalg.inv(s), w, atol=1e-9, rtol=0)  # it commutes with the blocks
    assert_close(s @ v, np.array([[0.0], [1], [0], [1]]), atol=1e-9, rtol=0)


def test_toeplitz_takes_the_input_with_the_largest_last_entry():
    s = toeplitz_basis(np.array([[0.0, 1], [0, 0]]), np.array([[3.0, 5], [0.1, -2]]))
    assert s is not None
    assert_close(s @ np.array([5.0, -2]), np.array([0.0, 1]))


def test_toeplitz_is_skipped_where_there_is_no_jordan_form_and_leaves_rotations_and_unread_blocks_alone():
    assert toeplitz_basis(np.array([[1.0, 5], [2, 1]]), np.ones((2, 1))) is None
    rotation = JORDAN["rotation and a number"]
    assert blocks(rotation) == [slice(0, 1)]
    s = toeplitz_basis(rotation, np.array([[4.0], [1], [1]]))
    assert s is not None
    assert_close(s, np.diag([0.25, 1, 1]))
    assert_close(toeplitz_basis(np.eye(1), np.zeros((1, 1))), np.eye(1))
    with pytest.raises(ValueError, match=r"tolerance must be below 1/2, got 0\.5"):
        blocks(np.eye(2), 0.5)


def test_a_bias_that_f_does_not_read_moves_to_g_exactly():
    network = affine_network([[1, 0, 0], [2, 0, 0], [0, 0, 0]], [[1], [0], [1]], b=[3, 5, 7], c=[[1, 1, 2]], d=[10])
    moved = debiased(network)
    assert moved.f[0][1].tolist() == [3, 0, 0] and moved.g[0][1].tolist() == [10 + 5 + 2 * 7]
    assert_close(run(moved, inputs(1)), run(network, inputs(1)), atol=1e-9, rtol=0)


@pytest.mark.parametrize("shape", SHAPES[1:], ids=str)
def test_debiasing_a_network_that_reads_less_than_it_writes(shape):
    """The hidden columns of f are made blind in one random direction: the bias along it is what must move."""
    network = random_network(shape, seed=2)
    n = shape.hidden
    blind = torch.from_numpy(np.linalg.qr(basis(n, 4))[0][:, 0])
    first, bias = network.f[0]
    seen = first.clone()
    seen[:, :n] -= (first[:, :n] @ blind)[:, None] * blind
    network = replace(network, f=[(seen, bias), *network.f[1:]])
    moved = debiased(network, tolerance=1e-9)
    assert_close(run(moved, inputs()), run(network, inputs()), atol=1e-9, rtol=0)
    assert abs(float(moved.f[-1][1] @ blind)) < 1e-12 < abs(float(network.f[-1][1] @ blind))


def test_quantisation_rounds_what_is_near_and_nothing_else():
    network = affine_network([[1.004]], [[-2.0099]], b=[0.3], c=[[0.02]], d=[0.0099])
    whole = quantised(network)
    assert [float(t) for t in whole.tensors().values() if t.numel() == 1] == [0.3, 0.02, 0.0]
    assert whole.f[0][0].tolist() == [[1, -2]]
    assert (share_whole(network), share_whole(whole)) == (0.0, 3 / 5)


def test_the_pipeline_finds_the_plain_counter_behind_a_basis_and_reports_every_error():
    plain = affine_network([[1, 1], [0, 1]], [[0], [1]], c=[[1, 0]])
    hidden = change_basis(plain, np.array([[0.7, 0.4], [-1.1, 0.9]]))
    xs = inputs(1)
    found = simplify(hidden, xs)
    assert [step.name for step in found.steps] == list(NORMALISERS) and all(step.kept for step in found.steps)
    assert_close(recurrent_map(found.network), np.array([[1.0, 1, 0], [0, 1, 1]]), atol=1e-9, rtol=0)
    assert max(step.error for step in found.steps[:4]) < 1e-9
    assert_close(run(found.network, xs), run(hidden, xs), atol=0.25, rtol=0)
    assert found.to_json()["share_of_integer_weights"] == 1.0


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_reported_errors_are_those_of_the_network_that_is_given(shape, seed):
    network, xs = random_network(shape, seed), inputs()
    found = simplify(network, xs)
    true = float((run(found.network, xs) - run(network, xs)).abs().max())
    kept = [step for step in found.steps if step.kept]
    assert true <= 0.25 and true == kept[-1].error
    errors = {step.name: step.error for step in kept}
    assert all(errors.get(name, 0.0) < 1e-9 for name in ("whitening", "jordan", "toeplitz"))
    assert found.to_json()["errors"] == {step.name: step.error if step.kept else None for step in found.steps}


def test_a_step_that_moves_an_output_by_more_than_a_quarter_is_dropped():
    """A sum of large inputs with a weight 0.005 off: rounding that weight shows in the outputs."""
    network = affine_network([[1.0]], [[1.0]], c=[[1.005]])
    xs = torch.full((1, 30, 1), 5.0, dtype=torch.float64)
    found = simplify(network, xs)
    steps = {step.name: step for step in found.steps}
    assert not steps["quantise"].kept and steps["quantise"].error == pytest.approx(0.005 * 150)
    assert found.to_json()["errors"]["quantise"] is None
    assert_close(run(found.network, xs), run(network, xs), atol=1e-9, rtol=0)


def test_weights_beyond_ten_thousand_are_not_readable():
    assert readable(affine_network([[1e4]], [[1.0]]))
    assert not readable(affine_network([[1.0001e4]], [[1.0]]))
    huge = replace(affine_network([[1.0]], [[1.0]]))
    huge.f[0][0][0, 0] = float("inf")
    assert not readable(huge)
