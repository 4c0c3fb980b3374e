"""Collective calls over the ranks, each guarded: one that fails says which rank is to blame."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from pellucid.training.distributed.members import Members


class Wire:
    """The process group of a fit: gloo for tensors on the CPU, nccl for those on CUDA devices.

    Sums are the same bits on every rank (each part is added up in one place and sent round), though not those of another
    number of ranks. `sent` counts the payload each kind of call was given, in bytes, and `calls` how often.
    """

    def __init__(self, members: Members, device: torch.device) -> None:
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        self.members, self.rank, self.size = members, members.rank, members.size
        self.sent: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()
        store = dist.PrefixStore("wire", members.store)
        timeout = timedelta(seconds=members.timeout)
        self._guarded(
            lambda: dist.init_process_group(backend, store=store, rank=self.rank, world_size=self.size, timeout=timeout)
        )

    def close(self) -> None:
        """End the process group; ranks that wait for this one are woken with an error."""
        dist.destroy_process_group()

    def sum(self, tensor: Tensor) -> Tensor:
        """Add up a tensor over the ranks, in place."""
        self._count("sum", tensor)
        self._guarded(lambda: dist.all_reduce(tensor))
        return tensor

    def least(self, tensor: Tensor) -> Tensor:
        """Take the elementwise minimum over the ranks, in place."""
        self._count("least", tensor)
        self._guarded(lambda: dist.all_reduce(tensor, dist.ReduceOp.MIN))
        return tensor

    def gather(self, tensor: Tensor) -> list[Tensor]:
        """Return every rank's tensor; all have one shape."""
        self._count("gather", tensor)
        found = [torch.empty_like(tensor) for _ in range(self.size)]
        self._guarded(lambda: dist.all_gather(found, tensor.contiguous()))
        return found

    def spread(self, tensor: Tensor) -> Tensor:
        """Overwrite a CPU tensor with the one of rank 0."""
        self._count("spread", tensor)
        self._guarded(lambda: dist.broadcast(tensor, 0))
        return tensor

    def to_first(self, tensor: Tensor | None, sources: Sequence[tuple[int, Any, torch.dtype]]) -> list[Tensor]:
        """Send a tensor to rank 0 (None: nothing), which returns what comes from `sources` (rank, shape, dtype) in turn."""
        if self.rank:
            if tensor is not None:
                self._count("to_first", tensor)
                self._guarded(lambda: dist.send(tensor.detach().cpu().contiguous(), 0))
            return []
        found = [torch.empty(shape, dtype=dtype) for _, shape, dtype in sources]
        for (rank, _, _), into in zip(sources, found, strict=True):
            self._guarded(partial(dist.recv, into, rank))
        return found

    def gather_json(self, value: Any) -> list[Any]:
        """Return every rank's value, as JSON carries it."""
        own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
        sizes = [int(size) for size in self.gather(torch.tensor([len(own)]))]
        padded = torch.zeros(max(sizes), dtype=torch.uint8)
        padded[: len(own)] = own
        parts = zip(self.gather(padded), sizes, strict=True)
        return [json.loads(part[:size].numpy().tobytes()) for part, size in parts]

    def spread_json(self, value: Any) -> Any:
        """Return the value of rank 0, as JSON carries it."""
        return self.gather_json(value if self.rank == 0 else None)[0]

    def _count(self, kind: str, tensor: Tensor) -> None:
        self.sent[kind] += tensor.numel() * tensor.element_size()
        self.calls[kind] += 1

    def _guarded(self, call: Callable[[], Any]) -> None:
        self.members.calls += 1
        try:
            call()
        except RuntimeError as error:
            raise self.members.diagnose(error) from error
