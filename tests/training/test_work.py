"""Operations needed by passes and updates, against what PyTorch counts, and the rates told from them."""

from __future__ import annotations

import json

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from pellucid.core.config import build
from pellucid.dictionaries import make_dictionary
from pellucid.hosts.splice import SharedPass
from pellucid.kernels.ceiling import ceiling
from pellucid.kernels.divergence import Teacher
from pellucid.training import DictionaryConfig, FitConfig
from pellucid.training.learner import Learner
from pellucid.training.timing import Timing
from pellucid.training.work import Work

ROWS, CONTEXT, WIDTH, K = 4, 12, 32, 5
POSITIONS = ROWS * CONTEXT


class Products(TorchDispatchMode):
    """Counts the operations of matrix products."""

    operations = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if func.overloadpacket in (torch.ops.aten.mm, torch.ops.aten.addmm):
            left, right = args[-2:]
            self.operations += 2 * left.shape[0] * left.shape[1] * right.shape[1]
        return func(*args, **(kwargs or {}))


def products(work):
    """Operations of the matrix products that PyTorch ran in `work`."""
    with Products() as counter:
        work()
    return counter.operations


def learner(host, site, objective):
    kind = {"kind": "topk", "n_latents": 48, "k": K}
    config = build(DictionaryConfig, {"site": site, "architecture": kind, "objective": {"kind": objective}}, where="test")
    dictionary = make_dictionary(config.architecture, WIDTH, torch.Generator().manual_seed(0), torch.randn(9, WIDTH))
    return Learner("d", config, FitConfig(dictionaries={"d": config}), host, dictionary)


@pytest.fixture
def inputs(small):
    return {"input_ids": small.Tokens().train_batch(0, ROWS).inputs["input_ids"]}


@pytest.mark.parametrize("name", ["layers.1", "layers.2.input", "layers.3"])
def test_a_host_pass_needs_the_products_that_pytorch_counts(small, inputs, name):
    host = small.host()
    trained = learner(host, name, "local")
    counted = products(lambda: SharedPass(host, inputs, None, capture=[trained.site], features=False))
    assert Work(host, [trained], POSITIONS, None).host == counted > 0


def test_a_splice_needs_the_products_after_its_site_forward_and_backward(small, inputs):
    host = small.host()
    trained, local = learner(host, "layers.1", "e2e"), learner(host, "layers.1", "local")
    head = host.find_head(inputs)
    host.prepare({"input_ids": inputs["input_ids"][:1]}, [trained.site])
    work = Work(host, [trained], POSITIONS, head.module)
    with host.held():
        shared = SharedPass(host, inputs, None, splice=[trained.site], head=head)
        teacher = Teacher(shared.readout, shared.features, shared=True)
        first = products(lambda: trained.update(shared, teacher, 1e-4, 0))
        second = products(lambda: trained.update(shared, teacher, 1e-4, 1))
        own = products(lambda: local.update(shared, None, 1e-4, 0))
    assert first - second == work.shared > 0
    assert second - own == work.update(trained, 0.0, 0)


def test_a_dictionary_needs_its_encoder_product_and_four_gathers(small):
    trained = learner(small.host(), "layers.1", "local")
    work = Work(small.host(), [trained], POSITIONS, None)
    codes = torch.zeros(7, 48).index_fill_(1, torch.arange(K), 1.0)
    gathers = 4 * 2 * int((codes > 0).sum()) * WIDTH
    assert work.update(trained, float(K), 7) == 2 * 7 * 48 * WIDTH + gathers


def test_a_host_without_blocks_is_not_counted(small):
    host = small.mlp()
    assert Work(host, [], POSITIONS, None).host == 0
    timing = Timing()
    timing.add("host", 1.0)
    assert timing.rates(10.0) == {"host_gflops": None, "dictionary_gflops": None, "ceiling_gflops": 10.0}


def test_rates_are_operations_over_seconds_and_survive_a_stop():
    timing = Timing()
    timing.host_pass = 3e9
    with timing.during("host"):
        pass
    timing.count("dictionary", 5e9)
    timing.seconds |= {"host": 2.0, "dictionary": 1.0}
    after = Timing()
    after.load_state(json.loads(json.dumps(timing.state())))
    after.count("dictionary", 1e9)
    assert after.rates(100.0) == {"host_gflops": 1.5, "dictionary_gflops": 6.0, "ceiling_gflops": 100.0}
    old = timing.state()
    del old["operations"]
    after.load_state(old)
    assert after.rates(100.0)["host_gflops"] is None, "seconds without their operations give no rate"


def test_a_fit_reports_its_rates_beside_the_ceiling(fitted, caplog):
    run = fitted("run", steps=3)
    found = json.loads((run / "timing.json").read_text())
    assert 0 < found["host_gflops"] <= found["ceiling_gflops"] and 0 < found["dictionary_gflops"] <= found["ceiling_gflops"]
    assert found["ceiling_gflops"] == round(ceiling(torch.device("cpu"), torch.get_num_threads()), 3)
