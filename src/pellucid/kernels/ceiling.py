"""What this machine can do at best: the rate that achieved ones are held against."""

from __future__ import annotations

import functools
import time

import torch

SIZE = 1536
SECONDS = 0.2


@functools.lru_cache(maxsize=4)
def ceiling(device: torch.device, threads: int) -> float:
    """Return GFLOP/s of one large float32 product: the best of those that fit in a fifth of a second, at least two.

    2 * 1536^3 operations over the seconds of a product of two square matrices into memory that is there already. Measured
    once a process for a device and number of threads (`torch.get_num_threads()`, which must be passed as it is).
    """
    a, b = (torch.ones(SIZE, SIZE, device=device) for _ in range(2))
    out = torch.empty(SIZE, SIZE, device=device)
    best, begun, turns = float("inf"), time.perf_counter(), 0
    while turns < 2 or time.perf_counter() - begun < SECONDS:
        start = time.perf_counter()
        torch.mm(a, b, out=out)
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        best, turns = min(best, time.perf_counter() - start), turns + 1
    return 2 * SIZE**3 / best / 1e9
