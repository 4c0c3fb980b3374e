"""Compile every Triton kernel for an NVIDIA GPU of 2022, without one; print their names."""

from __future__ import annotations

import sys
from typing import Any

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from pellucid.kernels import gpu
from pellucid.kernels.entries import Entries
from pellucid.kernels.gpu import rows, select, sums

HOPPER = GPUTarget("cuda", 90, 32)
TYPES = {torch.float32: "*fp32", torch.bfloat16: "*bf16", torch.int32: "*i32", torch.int64: "*i64"}


def compiled(function: Any, *arguments: Any, **constants: Any) -> None:
    """Compile a kernel for the types of its arguments, as its first start would."""
    signature, fixed = {}, dict(constants)
    for name, value in zip(function.arg_names, arguments, strict=False):
        if isinstance(value, torch.Tensor):
            signature[name] = TYPES[value.dtype]
        elif value == 1:
            fixed[name] = 1
        else:
            signature[name] = "fp32" if isinstance(value, float) else "i32"
    signature |= dict.fromkeys(fixed, "constexpr")
    constexprs = {(function.arg_names.index(name),): value for name, value in fixed.items()}
    triton.compile(ASTSource(fn=function, signature=signature, constexprs=constexprs), target=HOPPER)
    sys.stdout.write(f"{function.fn.__name__}\n")


def main() -> None:
    """Call every function of the form, with `start` compiling what it is given, once each."""
    seen = set()

    def start(function: Any, grid: Any, where: Any, *arguments: Any, **constants: Any) -> None:
        if function not in seen:
            seen.add(function)
            compiled(function, *arguments, **constants)

    for module in (rows, select, sums):
        module.start = start
    select.GROUPS = select.TILE = 128  # small blocks compile faster
    n, m, d, k = 64, 200, 24, 5
    entries = Entries.of_rows(torch.zeros(n, k, dtype=torch.int64), m)
    pre, bias, values, x, table = torch.ones(n, m), torch.ones(m), torch.ones(n * k), torch.ones(n, d), torch.ones(m, d)
    gpu.top_rows(pre, bias, k)
    gpu.above_rows(pre, bias, bias)
    gpu.latent_sums(entries, values.bfloat16(), x.bfloat16())
    gpu.entry_dots(entries, x, table)
    gpu.remove_parallel(table, table)
    gpu.unit_rows(table)


if __name__ == "__main__":
    main()
