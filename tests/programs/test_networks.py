"""Networks seen as a start state and a step: on disk, from PyTorch, from any function."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.core.errors import ConfigError, FileFormatError, NumericsError
from pellucid.programs.ensembles.members import network_of, new_members
from pellucid.programs.networks import FunctionNetwork, Shape, StepNetwork, from_torch, load_network, run, save_network

SHAPES = [Shape(3), Shape(4, 2, 5, 2, 6), Shape(2, 3, 4, 1, 0), Shape(2, 1, 0, 3, 3)]


@pytest.fixture
def network():
    return network_of(new_members(Shape(4, 2, 5, 2, 6), 2, 3, [7]), 0)


def test_the_equations():
    network = network_of(new_members(Shape(3, 2, 4, 2, 5), 2, 1, [1]), 0)
    (w0, b0), (w1, b1) = network.f
    (v0, c0), (v1, c1) = network.g
    xs = torch.randn(6, 7, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for x, y in zip(xs, run(network, xs), strict=True):
        h = torch.zeros(3, dtype=torch.float64)
        for t in range(7):
            h = w1 @ torch.relu(w0 @ torch.cat((h, x[t])) + b0) + b1
            assert_close(y[t], v1 @ torch.relu(v0 @ h + c0) + c1)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_round_trip_on_disk_keeps_every_bit(tmp_path, shape):
    network = network_of(new_members(shape, 2, 1, [3], torch.float64), 0)
    save_network(tmp_path / "net", network, {"seed": 3})
    loaded, provenance = load_network(tmp_path / "net")
    assert provenance == {"seed": 3} and loaded.shape == shape and isinstance(loaded, StepNetwork)
    for name, tensor in network.tensors().items():
        assert torch.equal(tensor, loaded.tensors()[name])


def test_files_that_do_not_fit_are_refused(tmp_path, network):
    folder = tmp_path / "net"
    with pytest.raises(FileFormatError, match="does not exist"):
        load_network(folder)
    save_network(folder, network)
    good = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"format": "other"}, "does not say"),
        ({"version": 2}, "version"),
        ({"hidden": 5}, "shape"),
        ({"hidden": -1}, "hidden is -1"),
        ({"hidden": 10**12}, "hidden is"),
        ({"f_depth": 1}, "leave it 0"),
        ({"f_width": 4096, "g_width": 4096, "hidden": 4096}, "shape|parameters"),
        ({"surprise": 1}, "surprise"),
        ({"weights_sha256": "0" * 64}, "sha256"),
    ):
        (folder / "config.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(FileFormatError, match=said):
            load_network(folder)
    (folder / "config.json").write_text(json.dumps(good))
    weights = folder / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:-8])
    with pytest.raises(FileFormatError, match="sha256"):
        load_network(folder)


def test_weights_that_are_not_finite_are_refused(tmp_path, network):
    network.f[0][0][0, 0] = float("nan")
    save_network(tmp_path / "net", network)
    with pytest.raises(FileFormatError, match=r"f\.0\.weight.*not finite"):
        load_network(tmp_path / "net")


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_torch_networks_step_as_they_run(kind, layers, batch_first):
    torch.manual_seed(0)
    core, head = (
        kind(2, 5, num_layers=layers, batch_first=batch_first),
        nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3)),
    )
    network = from_torch(core, head)
    assert isinstance(network, StepNetwork) and (network.n_in, network.n_out) == (2, 3)
    assert network.n_state == 5 * layers * (2 if kind is nn.LSTM else 1)
    xs = torch.randn(4, 6, 2, dtype=torch.float64)
    core, head = core.double(), head.double()
    whole, _ = core(xs if batch_first else xs.transpose(0, 1))
    assert_close(run(network, xs), head(whole if batch_first else whole.transpose(0, 1)))


def test_adapting_leaves_the_module_as_it_was():
    core = nn.GRU(1, 3, dropout=0.0).train()
    from_torch(core)
    assert core.training and core.weight_hh_l0.dtype == torch.float32


def test_what_has_no_step_is_refused():
    with pytest.raises(ConfigError, match="bidirectional"):
        from_torch(nn.GRU(1, 3, bidirectional=True))
    with pytest.raises(ConfigError, match="Linear"):
        from_torch(nn.Linear(1, 1))


def test_any_function():
    network = FunctionNetwork(lambda h, x: ((h + x) % 5, (h + x) % 5), torch.tensor([2.0]), 1)
    assert_close(run(network, torch.ones(1, 4, 1, dtype=torch.float64))[0, :, 0], torch.tensor([3.0, 4, 0, 1]).double())


@pytest.mark.parametrize(
    ("step", "said"),
    [
        (lambda h, x: h, "returned Tensor"),
        (lambda h, x: (h[:, :1], x), "gave a state"),
        (lambda h, x: (h, x[:, 0]), "an output"),
    ],
)
def test_functions_of_another_form_are_refused(step, said):
    with pytest.raises(ConfigError, match=said):
        FunctionNetwork(step, torch.zeros(2), 1)


def test_a_state_that_explodes_is_named():
    network = FunctionNetwork(lambda h, x: (1e60 * (h + x), x), torch.tensor([0.0]), 1)
    xs = torch.zeros(3, 9, 1, dtype=torch.float64)
    xs[1] = 1
    with pytest.raises(NumericsError, match=r"state of sequence 2 .*explodes"):
        run(network, xs)
