from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, NumericsError
from pellucid.dictionaries import SnmfConfig, factorised, load_dictionary, make_dictionary, save_dictionary
from pellucid.dictionaries.semi_nmf import LEAST, factorise, hierarchy, solved_atoms, strongest_only, updated_codes
from pellucid.training import FitConfig

N, D, M = 40, 12, 4


def planted(noise: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    atoms = torch.randn(M, D, generator=generator, dtype=torch.float64)
    codes = torch.rand(N, M, generator=generator, dtype=torch.float64) * (torch.rand(N, M, generator=generator) < 0.6)
    return codes @ atoms + noise * torch.randn(N, D, generator=generator, dtype=torch.float64), atoms


def test_an_update_of_the_codes_equals_naive_loop():
    x, atoms = planted()
    codes = torch.rand(N, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = updated_codes(x, atoms, codes)
    gram = [[float(atoms[i] @ atoms[j]) for j in range(M)] for i in range(M)]
    for t in range(N):
        for i in range(M):
            p = float(x[t] @ atoms[i])
            up = max(p, 0) + sum(max(-gram[i][j], 0) * float(codes[t, j]) for j in range(M))
            down = max(-p, 0) + sum(max(gram[i][j], 0) * float(codes[t, j]) for j in range(M))
            assert found[t, i].item() == pytest.approx(float(codes[t, i]) * (up / down) ** 0.5, rel=1e-9)


def test_solved_atoms_are_the_ridge_solution_of_unit_codes():
    x, _ = planted(0.1)
    codes = torch.rand(N, M, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * torch.tensor([1e-3, 1, 50, 2])
    unit = codes / codes.norm(dim=0)
    wanted = torch.linalg.inv(unit.T @ unit + 0.01 * torch.eye(M)) @ unit.T @ x / codes.norm(dim=0).unsqueeze(1)
    assert_close(solved_atoms(codes.T @ x, codes.T @ codes, 0.01), wanted)


@pytest.mark.parametrize(("width", "kept"), [(4, 4), (40, 10), (2000, 20)])
def test_atoms_use_a_hundredth_of_the_site_and_ten_dimensions_at_least(width, kept):
    dictionary = make_dictionary(SnmfConfig(n_latents=3), width, torch.Generator().manual_seed(0))
    assert (dictionary.decoder != 0).sum(dim=1).tolist() == [kept] * 3


def test_winners_are_the_largest_entries():
    atoms = torch.tensor([[3.0, -4.0, 1.0, 0.5], [0.1, 0.2, -0.3, 0.0]])
    assert strongest_only(atoms, 0.5).tolist() == [[3, -4, 0, 0], [0, atoms[1, 1], atoms[1, 2], 0]]
    assert strongest_only(atoms, 0.01).count_nonzero().item() == 2 and strongest_only(atoms, 1.0) is atoms


@pytest.mark.parametrize("start", ["random", "svd", "kmeans"])
def test_every_start_finds_planted_factors(start):
    x, _ = planted()
    factors = factorise(x, M, start=start, iterations=300, generator=torch.Generator().manual_seed(0))
    assert factors.errors[-1] < 0.1 and (factors.codes >= 0).all()


def test_it_stops_when_nothing_improves():
    x, _ = planted(0.2)
    whole = factorise(x, M, iterations=400, patience=1000, generator=torch.Generator().manual_seed(0))
    short = factorise(x, 1, iterations=400, patience=5, generator=torch.Generator().manual_seed(0))
    assert len(whole.errors) == 400 and len(short.errors) < 400
    again = factorise(x, M, iterations=400, patience=1000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(again.atoms, whole.atoms)


def test_levels_of_a_hierarchy_factorise_each_others_atoms():
    levels = hierarchy(planted(0.1)[0], [4, 2], iterations=50, generator=torch.Generator().manual_seed(0))
    assert [tuple(level.atoms.shape) for level in levels] == [(4, D), (2, D)] and tuple(levels[1].codes.shape) == (4, 2)
    error = (levels[0].atoms - levels[1].codes @ levels[1].atoms).norm() / levels[0].atoms.norm()
    assert levels[1].errors[-1] == pytest.approx(float(error), rel=1e-9)
    with pytest.raises(ConfigError, match="wanted falling ones"):
        hierarchy(planted()[0], [2, 4])


def test_codes_are_the_best_nonnegative_ones_and_a_row_is_alone():
    from scipy.optimize import nnls

    x, _ = planted(0.3)
    dictionary = factorised(SnmfConfig(n_latents=M, winners=1.0, iterations=3000, least=1e-4), x).double()
    codes = dictionary.encode(x)
    for t in range(N):
        best, _ = nnls(dictionary.decoder.T.numpy(), x[t].numpy())
        assert_close(codes[t], torch.from_numpy(best), rtol=0.02, atol=0.01)
    assert_close(dictionary.encode(x[3:4]), codes[3:4])
    assert_close(dictionary(x).reconstruction, codes @ dictionary.decoder)


def test_batches_find_what_the_whole_matrix_shows():
    generator = torch.Generator().manual_seed(3)
    atoms = torch.randn(M, D, generator=generator)
    dictionary = make_dictionary(SnmfConfig(n_latents=M, winners=1.0), D, torch.Generator().manual_seed(0))
    for _ in range(60):
        x = (torch.rand(64, M, generator=generator) * (torch.rand(64, M, generator=generator) < 0.6)) @ atoms
        before = dictionary.decoder.clone()
        forward = dictionary(x)
        codes = dictionary._solved(x)
        moment, gram = dictionary.moment * 0.95 + codes.T @ x, dictionary.gram * 0.95 + codes.T @ codes
        dictionary.learn(x, forward)
    assert_close(dictionary.moment, moment)
    assert_close(dictionary.gram, gram)
    assert not torch.equal(before, dictionary.decoder) and not dictionary.decoder.requires_grad
    assert float((dictionary(x).reconstruction - x).norm() / x.norm()) < 0.1


def test_learning_batches_equals_naive_loop():
    m, kept, memory, ridge, tiny = M, 3, 0.5, 1e-3, LEAST
    config = SnmfConfig(n_latents=m, winners=kept / D, iterations=3, memory=memory, ridge=ridge)
    made = make_dictionary(config, D, torch.Generator().manual_seed(0)).double()
    atoms = made.decoder.detach().clone()
    moment, gram = torch.zeros(m, D, dtype=torch.float64), torch.zeros(m, m, dtype=torch.float64)
    for x in planted(0.1)[0].split(20):
        moment, gram = memory * moment, memory * gram
        for row in x:
            p = [float(atom @ row) for atom in atoms]
            z = [max(p[i], 0) / float(atoms[i] @ atoms[i]) for i in range(m)]
            z = [each + 0.1 * sum(z) / m + tiny for each in z]
            for _ in range(3):
                q = [[float(a @ b) for b in atoms] for a in atoms]
                up = [max(p[i], 0) + sum(z[j] * max(-q[i][j], 0) for j in range(m)) + tiny for i in range(m)]
                down = [max(-p[i], 0) + sum(z[j] * max(q[i][j], 0) for j in range(m)) + tiny for i in range(m)]
                z = [z[i] * (up[i] / down[i]) ** 0.5 for i in range(m)]
            for i in range(m):
                moment[i] += z[i] * row
                for j in range(m):
                    gram[i, j] += z[i] * z[j]
        made.learn(x, made(x))
        assert_close(made.moment, moment, rtol=1e-9, atol=1e-12)
        assert_close(made.gram, gram, rtol=1e-9, atol=1e-12)
        scale = gram.diagonal().sqrt()
        unit = gram / scale / scale.unsqueeze(1) + ridge * torch.eye(m, dtype=torch.float64)
        atoms = torch.linalg.inv(unit) @ (moment / scale.unsqueeze(1)) / scale.unsqueeze(1)
        for atom in atoms:
            atom[atom.abs().argsort()[: D - kept]] = 0
        assert_close(made.decoder.detach(), atoms, rtol=1e-7, atol=1e-10)


def test_the_file_holds_the_statistics(tmp_path):
    made = factorised(SnmfConfig(n_latents=M, winners=0.5), planted()[0])
    header = {"site": "s", "objective": {}, "tokens": 5, "host": {"name": "h", "weights_sha256": "a"}}
    save_dictionary(tmp_path / "d", made, header)
    loaded, _ = load_dictionary(tmp_path / "d")
    x = planted()[0].float()
    assert torch.equal(loaded.decoder, made.decoder) and torch.equal(loaded.gram, made.gram)
    assert_close(loaded.encode(x), made.encode(x))
    loaded.learn(x, loaded(x))


def test_refusals():
    x = planted()[0]
    for values in ({"winners": 0.0}, {"winners": 1.5}, {"iterations": 0}, {"memory": 1.0}, {"least": 1.0}):
        with pytest.raises(ConfigError):
            build(SnmfConfig, values)
    with pytest.raises(ConfigError, match="snmf is fitted without gradients, to activations alone: use objective 'local'"):
        entry = {"site": "layers.1", "architecture": {"kind": "snmf"}, "objective": {"kind": "e2e"}}
        build(FitConfig, {"dictionaries": {"a": entry}})
    with pytest.raises(ConfigError, match="20 atoms cannot start by 'svd' from a matrix of 40 rows of 12; at most 12"):
        factorise(x, 20, start="svd")
    with pytest.raises(ConfigError, match="start 'kmeans' needs a sample"):
        make_dictionary(SnmfConfig(n_latents=4, start="kmeans"), D)
    with pytest.raises(NumericsError, match="all zero or not finite"):
        factorise(torch.zeros(5, 3), 2)
    with pytest.raises(ConfigError, match="winners is 0"):
        factorise(x, 2, winners=0.0, iterations=0)
