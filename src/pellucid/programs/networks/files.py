"""A recurrent network on disk: config.json and weights.safetensors in a folder."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from pellucid.core import files
from pellucid.core.config import Config
from pellucid.core.errors import ConfigError, FileFormatError, raise_all
from pellucid.core.header import read_header
from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.networks.shape import LARGEST, Shape

FORMAT = "pellucid-recurrent"
CONFIG_FILE, WEIGHTS_FILE = "config.json", "weights.safetensors"
LARGEST_CONFIG = 2**20
"""Bytes of config.json beyond which it is not read."""
LARGEST_NETWORK = 2**26
"""Parameters beyond which weights are not read."""


class NetworkHeader(Config):
    """What config.json says about a recurrent network."""

    format: Literal["pellucid-recurrent"] = "pellucid-recurrent"
    """Always 'pellucid-recurrent'."""
    version: Literal[1] = 1
    """Version of the file format."""
    n_in: int = Field(ge=1, le=LARGEST)
    """Numbers that enter at each step."""
    n_out: int = Field(ge=1, le=LARGEST)
    """Numbers that leave at each step."""
    hidden: int
    """Numbers carried from step to step."""
    f_depth: int
    """Linear layers of f."""
    f_width: int
    """Width of f's inner layers."""
    g_depth: int
    """Linear layers of g."""
    g_width: int
    """Width of g's inner layers."""
    provenance: dict[str, Any] = Field(default_factory=dict)
    """How it was trained: settings, seed, checks."""
    weights_sha256: str = Field(pattern="^[0-9a-f]{64}$")
    """sha256 of weights.safetensors."""

    def shape(self) -> Shape:
        """Return the shape; ConfigError lists what is out of range."""
        return Shape(self.hidden, self.f_depth, self.f_width, self.g_depth, self.g_width)


def save_network(folder: str | Path, network: RecurrentNetwork, provenance: dict[str, Any] | None = None) -> None:
    """Write a network to `folder`: its weights in float64, then its config with their hash.

    A reader that comes between the two finds hashes that differ and refuses.
    """
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise FileFormatError(f"{folder} is a file, wanted a folder for the network")
    files.save_tensors(folder / WEIGHTS_FILE, network.tensors())
    shape = network.shape
    header = NetworkHeader(
        n_in=network.n_in,
        n_out=network.n_out,
        hidden=shape.hidden,
        f_depth=shape.f_depth,
        f_width=shape.f_width,
        g_depth=shape.g_depth,
        g_width=shape.g_width,
        provenance=provenance or {},
        weights_sha256=files.sha256_file(folder / WEIGHTS_FILE),
    )
    files.write_json(folder / CONFIG_FILE, header.model_dump(mode="json"))


def load_network(folder: str | Path) -> tuple[RecurrentNetwork, dict[str, Any]]:
    """Read a network and its provenance; the files are treated as hostile.

    The config is checked first, then the hash of the weights, then names, shapes and types of all tensors, before any is
    allocated. Nothing is unpickled. Raises FileFormatError naming the file and what in it does not fit.
    """
    folder = Path(folder)
    header = read_header(
        folder / CONFIG_FILE,
        NetworkHeader,
        what="recurrent network",
        weights=WEIGHTS_FILE,
        form=FORMAT,
        version=1,
        largest=LARGEST_CONFIG,
    )
    try:
        shape = header.shape()
        layers = dict(zip("fg", shape.layers(header.n_in, header.n_out), strict=True))
    except ConfigError as error:
        raise FileFormatError(f"{folder / CONFIG_FILE}: {error}") from None
    shapes: dict[str, tuple[int, ...]] = {}
    for part, sizes in layers.items():
        for k, (i, o) in enumerate(sizes):
            shapes[f"{part}.{k}.weight"], shapes[f"{part}.{k}.bias"] = (o, i), (o,)
    tensors = read_weights(folder, header.weights_sha256, shapes)
    f, g = (
        [(tensors[f"{part}.{k}.weight"], tensors[f"{part}.{k}.bias"]) for k in range(len(sizes))]
        for part, sizes in layers.items()
    )
    return RecurrentNetwork(shape, header.n_in, header.n_out, f, g), header.provenance


def read_weights(folder: Path, sha256: str, shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Return the tensors of a network's weights file, which must have this hash, these names and shapes, and be finite float64.

    Raises FileFormatError; what would be too many parameters is refused before anything is read.
    """
    weights = folder / WEIGHTS_FILE
    n_parameters = sum(prod(shape) for shape in shapes.values())
    if n_parameters > LARGEST_NETWORK:
        raise FileFormatError(f"{folder / CONFIG_FILE} asks for {n_parameters} parameters, at most {LARGEST_NETWORK} are read")
    if not weights.is_file():
        raise FileFormatError(f"{weights} does not exist")
    found = files.sha256_file(weights)
    if found != sha256:
        raise FileFormatError(
            f"{weights} has sha256 {found}, but {CONFIG_FILE} says {sha256}. "
            f"One of them was changed or cut short: write the network again."
        )
    tensors = files.load_tensors(weights, shapes)
    problems = [f"'{name}' is {t.dtype}, wanted float64" for name, t in sorted(tensors.items()) if t.dtype != torch.float64]
    problems += [f"'{name}' holds weights that are not finite" for name, t in sorted(tensors.items()) if not t.isfinite().all()]
    raise_all(problems, FileFormatError, title=f"{weights} does not hold a network")
    return tensors
