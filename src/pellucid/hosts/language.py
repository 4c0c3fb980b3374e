"""Language models by name or path, through `transformers`."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from pellucid.core.errors import FileFormatError
from pellucid.hosts.catalogue import find_host
from pellucid.hosts.host import Host


def load(name_or_path: str, *, device: str = "cpu", dtype: str = "float32") -> Host:
    """Load a causal language model and its tokenizer as a Host.

    A catalogue name ('smollm2') or a folder opens no socket; any other name is a hub name and is asked of the hub, unless
    HF_HUB_OFFLINE is set. Raises FileFormatError if the files are corrupted or incomplete.
    """
    from transformers import AutoModelForCausalLM, AutoTokenizer

    found = find_host(name_or_path)
    source = str(found)
    local = Path(source).exists()
    try:
        model = AutoModelForCausalLM.from_pretrained(source, dtype=getattr(torch, dtype), local_files_only=local)
        tokenizer = AutoTokenizer.from_pretrained(source, local_files_only=local)
    except Exception as error:  # safetensors, json and transformers each raise their own kinds
        again = f"run 'pellucid get {name_or_path}'" if not os.path.exists(name_or_path) else "fetch it again"
        raise FileFormatError(f"host '{name_or_path}' in {source} could not be loaded: {error}. If it is incomplete, {again}.") from error
    model.config.use_cache = False
    return Host(model.to(device).eval(), name=name_or_path, tokenizer=tokenizer)
