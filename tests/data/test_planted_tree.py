from __future__ import annotations

import pytest
import torch
from torch.testing import assert_close

from pellucid.core.config import build
from pellucid.core.errors import ConfigError, DataError
from pellucid.data import PlantedTreeConfig, PlantedTreeData


def test_features_fire_as_often_as_the_settings_say():
    data = PlantedTreeData()
    active = data.truth(torch.arange(20_000), held_out=True).coefficients > 0
    wanted = [0.05] * 8 + [0.2] * 3 + [0.04] * 9
    assert data.config.n_features == 20 and data.config.active == pytest.approx(1.36)
    assert_close(active.double().mean(dim=0), torch.tensor(wanted, dtype=torch.float64), atol=0.012, rtol=0)
    assert float(active.sum(dim=1).double().mean()) == pytest.approx(1.36, abs=0.03)


def test_a_child_is_active_with_its_parent_and_without_its_siblings():
    data = PlantedTreeData(PlantedTreeConfig(n_children=4, child_active=0.25, n_lone=2))
    active = data.truth(torch.arange(3000)).coefficients > 0
    for parent in range(2, 5):
        children = (data.parents == parent).nonzero().flatten()
        assert len(children) == 4
        together = active[:, children].sum(dim=1)
        assert int(together.max()) == 1 and bool(active[:, parent][together > 0].all())
        assert int(together.sum()) == int(active[:, parent].sum()), "probabilities that sum to 1 leave no parent alone"
    assert data.parents[:5].tolist() == [-1] * 5


@pytest.mark.parametrize("cosine", [0.0, 0.3, 0.6])
def test_atoms_are_orthogonal_but_for_siblings(cosine):
    data = PlantedTreeData(PlantedTreeConfig(sibling_cosine=cosine))
    gram = data.atoms @ data.atoms.T
    for i in range(20):
        for j in range(20):
            siblings = int(data.parents[i]) == int(data.parents[j]) >= 0
            wanted = 1.0 if i == j else cosine if siblings else 0.0
            assert float(gram[i, j]) == pytest.approx(wanted, abs=1e-5), (i, j)


def test_coefficients_are_normal_and_rows_the_sum_of_their_features():
    data = PlantedTreeData()
    truth = data.truth(torch.arange(20_000), held_out=True)
    strength = truth.coefficients[truth.coefficients > 0].double()
    assert float(strength.mean()) == pytest.approx(1.5, abs=0.01) and float(strength.std()) == pytest.approx(0.25, abs=0.01)
    for row, coefficients in zip(truth.x[:40], truth.coefficients[:40], strict=True):
        by_hand = sum(float(c) * atom.double() for c, atom in zip(coefficients, data.atoms, strict=True))
        assert_close(row.double(), by_hand, rtol=0, atol=1e-6)


def test_a_row_depends_on_seed_and_index_alone():
    data, other = PlantedTreeData(), PlantedTreeData(PlantedTreeConfig(seed=1))
    whole, picked = data.truth(torch.arange(1500)), torch.tensor([1499, 0, 511, 512, 0])
    assert torch.equal(PlantedTreeData().truth(picked).coefficients, whole.coefficients[picked])
    assert not torch.equal(other.truth(picked).coefficients, whole.coefficients[picked])
    assert not torch.equal(data.held_out_rows(picked).inputs, whole.x[picked])
    batches = torch.cat([data.train_batch(step, 100).inputs for step in range(15)])
    assert_close(batches, whole.x, rtol=0, atol=1e-6)
    assert data.digest() == PlantedTreeData().digest() != other.digest() and data.describe()["source"] == "planted tree"


def test_bad_requests_are_refused():
    with pytest.raises(ConfigError, match=r"3 children of probability 0\.5 cannot exclude each other"):
        build(PlantedTreeConfig, {"child_active": 0.5})
    with pytest.raises(DataError, match="row 20000 does not exist; wanted 0 to 19999"):
        PlantedTreeData().held_out_rows(torch.tensor([20_000]))
