"""Networks of torch.nn on disk: what comes back runs as it did, and what cannot be kept is said."""

from __future__ import annotations

import json

import pytest
import torch
from torch import nn

from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.programs.networks import from_torch, open_network, run, save_torch_network

CORES = {
    "RNN": lambda: nn.RNN(2, 4, 2, nonlinearity="relu"),
    "GRU": lambda: nn.GRU(2, 4, batch_first=True, bias=False),
    "LSTM": lambda: nn.LSTM(2, 5, 2, proj_size=3),
}


@pytest.mark.parametrize("read_out", [True, False])
@pytest.mark.parametrize("kind", CORES)
def test_what_comes_back_runs_as_it_did(tmp_path, kind, read_out):
    torch.manual_seed(0)
    core = CORES[kind]()
    head = nn.Linear(core.proj_size or core.hidden_size, 3, bias=kind != "GRU") if read_out else None
    save_torch_network(tmp_path / "net", core, head)
    xs = torch.randn(5, 7, 2, dtype=torch.float64)
    assert torch.equal(run(open_network(tmp_path / "net"), xs), run(from_torch(core, head), xs))


def test_what_cannot_be_kept_is_refused_with_the_next_step(tmp_path):
    for core, head, said in (
        (
            nn.GRU(1, 3),
            nn.Sequential(nn.Linear(3, 1)),
            r"the read-out is Sequential, wanted nn\.Linear or none; from Python, distill\(",
        ),
        (nn.GRU(1, 3), nn.Linear(4, 1), "the read-out reads 4 numbers, the network's last layer gives 3"),
        (nn.GRU(1, 3, bidirectional=True), None, "bidirectional"),
    ):
        with pytest.raises(ConfigError, match=said):
            save_torch_network(tmp_path / "net", core, head)
    assert not (tmp_path / "net").exists()


def test_files_that_do_not_fit_are_refused(tmp_path):
    folder = tmp_path / "net"
    with pytest.raises(FileFormatError, match="does not exist"):
        open_network(folder)
    save_torch_network(folder, nn.GRU(1, 3), nn.Linear(3, 1))
    good = json.loads((folder / "config.json").read_text())
    for change, said in (
        ({"kind": "Transformer"}, "kind"),
        ({"version": 2}, "version"),
        ({"hidden": 4}, "shape"),
        ({"layers": 2}, "missing|recurrent"),
        ({"layers": 64, "hidden": 4096}, "parameters, at most"),
        ({"hidden": 10**9}, "hidden"),
        ({"projection": 2}, "projection is 2, wanted below hidden"),
        ({"surprise": 1}, "surprise"),
        ({"weights_sha256": "0" * 64}, "sha256"),
        ({"format": "other"}, "does not say"),
    ):
        (folder / "config.json").write_text(json.dumps({**good, **change}))
        with pytest.raises(FileFormatError, match=said):
            open_network(folder)
