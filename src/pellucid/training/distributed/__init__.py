"""A fit over several processes: which part each takes, what they add up, and what happens when one is lost."""

from pellucid.training.distributed.alone import Alone, Positions, Silent, State
from pellucid.training.distributed.join import joined, local_device

__all__ = ["Alone", "Positions", "Silent", "State", "joined", "local_device"]
