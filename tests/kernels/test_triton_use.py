"""Where the Triton kernels are chosen, what is said where they cannot be, and that they compile for GPUs."""

from __future__ import annotations

import inspect
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("triton", reason="triton is not installed (wheels are for Linux); pip install 'pellucid[gpu]'")


from pellucid.core.errors import ConfigError
from pellucid.kernels import forms, gpu
from pellucid.kernels.forms import get_form, usable
from pellucid.kernels.gpu import machine, rows, select, sums
from pellucid.training import FitConfig


def test_the_form_is_for_gpus(monkeypatch):
    fields = {"dictionaries": {"d": {"site": "0"}}, "kernels": "triton"}
    assert FitConfig.model_validate(fields).kernels == "triton" and get_form("triton") is gpu
    assert "triton" not in usable(torch.device("cpu"), torch.float32)
    cuda = torch.device("cuda")
    assert usable(cuda, torch.float32) == usable(cuda, torch.bfloat16) == ["plain", "stock", "triton"]
    assert usable(cuda, torch.float64) == ["plain", "stock"]
    monkeypatch.setattr(machine, "interpreted", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match=r"kernels 'triton' cannot be used here: .* need a GPU.* set kernels: stock"):
        get_form("triton")


def test_a_gpu_without_triton_is_said_once_and_gets_stock_operators(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "pellucid.kernels.gpu", None)  # import fails, as where triton is not installed
    forms._say.cache_clear()
    with caplog.at_level(logging.WARNING, logger="pellucid"):
        assert usable(torch.device("cuda"), torch.float32) == usable(torch.device("cuda"), torch.float32) == ["plain", "stock"]
    (said,) = [record.message for record in caplog.records]
    assert "kernels 'triton' cannot be used here" in said
    assert "pip install 'pellucid[gpu]'" in said and "Going on with stock operators" in said


def test_a_gpu_that_triton_cannot_build_for_is_said_with_the_reason(monkeypatch, caplog):
    def fails():
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(machine, "interpreted", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "a card")
    monkeypatch.setattr(machine, "_run_smallest", fails)
    machine._failure.cache_clear()
    forms._say.cache_clear()
    with caplog.at_level(logging.WARNING, logger="pellucid"):
        assert usable(torch.device("cuda"), torch.float32) == ["plain", "stock"]
    machine._failure.cache_clear()
    assert "for a card: RuntimeError: Failed to find C compiler" in caplog.text


def test_every_kernel_compiles_for_gpus(tmp_path):
    """What the interpreter accepts, the compiler need not; it needs no GPU itself."""
    surroundings = {**os.environ, "TRITON_INTERPRET": "0", "TRITON_CACHE_DIR": str(tmp_path)}
    script = Path(__file__).with_name("compile_triton.py")
    done = subprocess.run([sys.executable, str(script)], env=surroundings, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    started = {
        name
        for module in (rows, select, sums)
        for name, found in vars(module).items()
        if name.startswith("_") and isinstance(found, type(rows._unit_rows)) and "program_id" in inspect.getsource(found.fn)
    }
    assert set(done.stdout.split()) == started and len(started) >= 10
