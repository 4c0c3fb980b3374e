"""Recurrent networks seen from outside: a start state and a step."""

from pellucid.programs.networks.adapters import FunctionNetwork, from_torch
from pellucid.programs.networks.base import StepNetwork, run
from pellucid.programs.networks.files import load_network, save_network
from pellucid.programs.networks.recurrent import RecurrentNetwork
from pellucid.programs.networks.shape import Shape
from pellucid.programs.networks.torch_files import open_network, save_torch_network

__all__ = [
    "FunctionNetwork",
    "RecurrentNetwork",
    "Shape",
    "StepNetwork",
    "from_torch",
    "load_network",
    "open_network",
    "run",
    "save_network",
    "save_torch_network",
]
