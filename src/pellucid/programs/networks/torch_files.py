"""An nn.RNN, nn.GRU or nn.LSTM with a linear read-out on disk, and a folder of either kind of network opened."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
from pydantic import Field
from torch import nn

from pellucid.core import files
from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, FileFormatError
from pellucid.core.header import read_header
from pellucid.programs.networks.adapters import FunctionNetwork, from_torch
from pellucid.programs.networks.base import StepNetwork
from pellucid.programs.networks.files import CONFIG_FILE, LARGEST_CONFIG, WEIGHTS_FILE, load_network, read_weights
from pellucid.programs.networks.shape import LARGEST

TORCH_FORMAT = "pellucid-torch-recurrent"
KINDS: dict[str, type[nn.RNN] | type[nn.GRU] | type[nn.LSTM]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


class TorchHeader(Config):
    """What config.json says about a recurrent network of torch.nn."""

    format: Literal["pellucid-torch-recurrent"] = "pellucid-torch-recurrent"
    """Always 'pellucid-torch-recurrent'."""
    version: Literal[1] = 1
    """Version of the file format."""
    kind: Literal["RNN", "GRU", "LSTM"]
    """Class in torch.nn."""
    n_in: int = Field(ge=1, le=LARGEST)
    """Numbers that enter at each step."""
    hidden: int = Field(ge=1, le=LARGEST)
    """Hidden units of a layer."""
    layers: int = Field(ge=1, le=64)
    """Layers on top of each other."""
    bias: bool = True
    """Whether the layers have biases."""
    nonlinearity: Literal["tanh", "relu"] = "tanh"
    """Of an RNN; the others have their own."""
    projection: int = Field(0, ge=0, le=LARGEST)
    """Width that an LSTM's hidden state is projected to; 0 for none."""
    n_out: int | None = Field(None, ge=1, le=LARGEST)
    """Outputs of the linear read-out; None where the last layer's output is given as it is."""
    read_out_bias: bool = True
    """Whether the read-out has a bias."""
    weights_sha256: str = Field("0" * 64, pattern="^[0-9a-f]{64}$")
    """sha256 of weights.safetensors."""

    def modules(self) -> tuple[nn.RNN | nn.GRU | nn.LSTM, nn.Linear | None]:
        """Return modules of this shape on the device that is current, in float64."""
        own = {"nonlinearity": self.nonlinearity} if self.kind == "RNN" else {"proj_size": self.projection}
        own = {} if self.kind == "GRU" else own
        core = KINDS[self.kind](self.n_in, self.hidden, self.layers, bias=self.bias, dtype=torch.float64, **own)
        if self.n_out is None:
            return core, None
        return core, nn.Linear(self.projection or self.hidden, self.n_out, self.read_out_bias, dtype=torch.float64)


def save_torch_network(folder: str | Path, recurrent: nn.RNN | nn.GRU | nn.LSTM, read_out: nn.Module | None = None) -> None:
    """Write a one-directional nn.RNN, nn.GRU or nn.LSTM and its linear read-out to `folder`, in float64.

    `pellucid distill --network FOLDER` reads it. Raises ConfigError for a network that has no step, and for a read-out that is
    not nn.Linear or does not fit: such a network can be distilled from Python, with `from_torch` and `distill`.
    """
    if read_out is not None and not isinstance(read_out, nn.Linear):
        raise ConfigError(
            f"the read-out is {type(read_out).__name__}, wanted nn.Linear or none; from Python, "
            f"distill(from_torch(network, read_out), domain) takes any"
        )
    from_torch(recurrent)
    header = TorchHeader(
        kind=type(recurrent).__name__,
        n_in=recurrent.input_size,
        hidden=recurrent.hidden_size,
        layers=recurrent.num_layers,
        bias=recurrent.bias,
        nonlinearity=getattr(recurrent, "nonlinearity", "tanh"),
        projection=recurrent.proj_size,
        n_out=read_out.out_features if read_out is not None else None,
        read_out_bias=read_out is not None and read_out.bias is not None,
    )
    width = recurrent.proj_size or recurrent.hidden_size
    if read_out is not None and read_out.in_features != width:
        raise ConfigError(f"the read-out reads {read_out.in_features} numbers, the network's last layer gives {width}")
    folder = Path(folder)
    tensors = _named(recurrent, read_out)
    files.save_tensors(folder / WEIGHTS_FILE, {name: t.detach().double().contiguous() for name, t in tensors.items()})
    header = header.model_copy(update={"weights_sha256": files.sha256_file(folder / WEIGHTS_FILE)})
    files.write_json(folder / CONFIG_FILE, header.model_dump(mode="json"))


def load_torch_network(folder: str | Path) -> FunctionNetwork:
    """Read such a network; the files are treated as hostile. Raises FileFormatError naming the file and what does not fit."""
    folder = Path(folder)
    header = read_header(
        folder / CONFIG_FILE,
        TorchHeader,
        what="recurrent network",
        weights=WEIGHTS_FILE,
        form=TORCH_FORMAT,
        version=1,
        largest=LARGEST_CONFIG,
    )
    if header.projection and (header.kind != "LSTM" or header.projection >= header.hidden):
        raise FileFormatError(
            f"{folder / CONFIG_FILE}: projection is {header.projection}, wanted below hidden ({header.hidden}) and an LSTM"
        )
    with torch.device("meta"):  # shapes alone: nothing is allocated before the file is known to hold them
        shapes = {name: tuple(tensor.shape) for name, tensor in _named(*header.modules()).items()}
    tensors = read_weights(folder, header.weights_sha256, shapes)
    core, head = header.modules()
    core.load_state_dict({name.removeprefix("recurrent."): t for name, t in tensors.items() if name.startswith("recurrent.")})
    if head is not None:
        head.load_state_dict({name.removeprefix("read_out."): t for name, t in tensors.items() if name.startswith("read_out.")})
    return from_torch(core, head)


def open_network(folder: str | Path) -> StepNetwork:
    """Read a network of any kind that a folder may hold: its config says which. Raises FileFormatError."""
    path = Path(folder) / CONFIG_FILE
    try:
        values = files.read_json(path) if path.is_file() and path.stat().st_size <= LARGEST_CONFIG else None
    except RecursionError:
        values = None
    if isinstance(values, dict) and values.get("format") == TORCH_FORMAT:
        return load_torch_network(folder)
    return load_network(folder)[0]


def _named(core: nn.Module, head: nn.Module | None) -> dict[str, torch.Tensor]:
    tensors = {f"recurrent.{name}": tensor for name, tensor in core.state_dict().items()}
    return tensors | ({f"read_out.{name}": tensor for name, tensor in head.state_dict().items()} if head is not None else {})
