"""Small hosts built from config, one of each kind; no network."""

from __future__ import annotations

import os
from pathlib import Path

# Triton decides when it is imported, which transformers may do first; TRITON_INTERPRET=0 tests its kernels on a GPU.
os.environ.setdefault("TRITON_INTERPRET", "1")

import pytest
import torch
from torch import Tensor, nn
from xdist.scheduler import LoadScopeScheduling

from pellucid.core.files import write_json
from pellucid.core.provenance import environment
from pellucid.hosts import Host

TOGETHER = {
    **{f"test_dictionaries_{section:02}.py": "setup S" for section in range(1, 8)},
    **{f"test_dictionaries_{name}.py": "tree" for name in ("06_tree", "11")},
    **{f"test_dictionaries_{section:02}.py": "walker" for section in (8, 16)},
    **{f"test_{name}.py": "digits" for name in ("dictionaries_20", "e2e_sae_results")},
    **{f"test_{name}.py": "index" for name in ("build", "explain_killed", "explain_run")},
}
"""Files that read a fixture of minutes, or compile the same loops: those of one name go to one worker."""


class ByFile(LoadScopeScheduling):
    """A file goes to one worker, so that fixtures of a module are made once."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.split("::", 1)[0]
        return TOGETHER.get(Path(path).name, path)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)


VOCABULARY = 97


def tiny_llama(layers: int = 4, width: int = 32, vocabulary: int = VOCABULARY) -> nn.Module:
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    heads = max(2, width // 16)
    config = LlamaConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=heads,
        num_key_value_heads=heads // 2 or 1, vocab_size=vocabulary, max_position_embeddings=256, use_cache=False,
    )  # fmt: skip
    return LlamaForCausalLM(config)


def tiny_gpt2() -> nn.Module:
    from transformers import GPT2Config, GPT2LMHeadModel

    torch.manual_seed(0)
    config = GPT2Config(n_embd=32, n_layer=4, n_head=2, vocab_size=VOCABULARY, n_positions=64, use_cache=False)
    return GPT2LMHeadModel(config)


def tiny_neox() -> nn.Module:
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

    torch.manual_seed(0)
    config = GPTNeoXConfig(
        hidden_size=32, intermediate_size=64, num_hidden_layers=4, num_attention_heads=2, vocab_size=VOCABULARY,
        use_parallel_residual=True, max_position_embeddings=64, use_cache=False,
    )  # fmt: skip
    return GPTNeoXForCausalLM(config)


class ResidualMLP(nn.Module):
    """Blocks that add to a stream; the last layer reads it."""

    def __init__(self, inputs: int = 10, width: int = 16, blocks: int = 4, classes: int = 5) -> None:
        super().__init__()
        self.embed = nn.Linear(inputs, width)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(width, 2 * width), nn.ReLU(), nn.Linear(2 * width, width)) for _ in range(blocks)
        )
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(x)


class SmallCNN(nn.Module):
    """Convolutions with an in-place activation and an addition in place: what a careless recorder gets wrong."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 3, padding=1)
        self.act = nn.ReLU(inplace=True)
        self.body = nn.Conv2d(8, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.head = nn.Linear(8, 5)

    def forward(self, x: Tensor) -> Tensor:
        first = self.act(self.stem(x))
        second = self.norm(self.body(first))
        second += first
        return self.head(self.act(second).mean((2, 3)))


class GRUClassifier(nn.Module):
    """A whole-sequence GRU, a cell called once a step, and a readout; time first."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(6, 12)
        self.cell = nn.GRUCell(12, 12)
        self.head = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        sequence, _ = self.rnn(x)
        state = torch.zeros(x.shape[1], 12)
        for step in sequence:
            state = self.cell(step, state)
        return self.head(state)


def _tokens(rows: int = 3, context: int = 12) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(1)
    return {"input_ids": torch.randint(0, VOCABULARY, (rows, context), generator=generator)}


def _normal(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(2))


def _seeded(make: type[nn.Module]) -> nn.Module:
    torch.manual_seed(0)
    return make()


HOSTS = {
    "llama": (tiny_llama, _tokens, "layers.1"),
    "gpt2": (tiny_gpt2, _tokens, "layers.1"),
    "neox": (tiny_neox, _tokens, "layers.1"),
    "mlp": (lambda: _seeded(ResidualMLP), lambda: _normal(7, 10), "layers.1"),
    "cnn": (lambda: _seeded(SmallCNN), lambda: _normal(2, 3, 6, 6), "stem"),
    "gru": (lambda: _seeded(GRUClassifier), lambda: _normal(5, 3, 6), "rnn"),
}


@pytest.fixture(params=list(HOSTS))
def any_host(request):
    """(host, inputs, a site) for each kind of small host."""
    make, inputs, site = HOSTS[request.param]
    host = Host(make(), name=request.param)
    return host, inputs(), host.site(site)


@pytest.fixture
def gru_host():
    make, inputs, _ = HOSTS["gru"]
    return Host(make(), name="gru"), inputs()


@pytest.fixture
def cnn_host():
    make, inputs, _ = HOSTS["cnn"]
    return Host(make(), name="cnn"), inputs()


@pytest.fixture
def llama_host():
    return Host(tiny_llama(), name="llama")


@pytest.fixture
def token_inputs():
    return _tokens()


@pytest.fixture
def record_evidence(request):
    """Write what a long test measured to evidence/<name>.json, with the command that measures it again."""

    def record(name: str, **figures):
        command = f"make evidence PYTEST='{request.node.nodeid}'"
        folder = Path(__file__).parent.parent / "evidence"
        folder.mkdir(exist_ok=True)
        write_json(folder / f"{name}.json", {**environment(), "command": command, **figures})

    return record
