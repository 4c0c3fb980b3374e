"""Language models by name or path, through `transformers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from pellucid.core.errors import ConfigError, FileFormatError, did_you_mean
from pellucid.hosts.catalogue import find_host

FLOATS = ("float32", "bfloat16", "float16", "float64")
"""Types a language model's weights can have."""


def load(name_or_path: str, *, device: str = "cpu", dtype: str | torch.dtype = "float32") -> tuple[nn.Module, Any]:
    """Return a causal language model, in evaluation mode and without a cache, and its tokenizer; `dtype` is its weights'.

    A catalogue name ('smollm2') or a folder opens no socket; any other name is a hub name and is asked of the hub, unless
    HF_HUB_OFFLINE is set. Raises FileFormatError if the files are corrupted or incomplete, ConfigError for another type.
    """
    kind = str(dtype).removeprefix("torch.")
    if kind not in FLOATS:
        raise ConfigError(f"a host's weights cannot be '{kind}': one of {', '.join(FLOATS)}.{did_you_mean(kind, FLOATS)}")
    from transformers import AutoModelForCausalLM, AutoTokenizer
    from transformers.utils import logging

    on_hub = "/" in name_or_path and not Path(name_or_path).exists()
    source = name_or_path if on_hub else str(find_host(name_or_path))
    bars = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()  # a second of loading needs none, and a log file shows it as noise
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, kind), local_files_only=not on_hub)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=not on_hub)
    except Exception as error:  # safetensors, json and transformers each raise their own kinds
        again = "fetch it again" if on_hub or Path(name_or_path).exists() else f"run 'pellucid get {name_or_path}'"
        raise FileFormatError(f"host '{name_or_path}' could not be loaded: {error}. If it is incomplete, {again}.") from error
    finally:
        if bars:
            logging.enable_progress_bar()
    model.config.use_cache = False
    nn.Module.to(model, torch.device(device))
    return model.eval(), tokenizer
