"""One whole training job in a process of its own: tokens and a saved model in, a dictionary on disk, JSON out.

    python job.py CONTENDER SETTINGS_JSON

Settings: folder (model/ and tokens.safetensors), out, layer, latents, k, batch_rows, threads. Prints
{"train_seconds": ..., "peak_mb": ...}, where training is the library's own runner from activations wanted to dictionary saved.
"""

from __future__ import annotations

import contextlib
import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor


def tokens_of(settings: dict[str, Any]) -> Tensor:
    """Return the token ids [rows, context]."""
    return load_file(Path(settings["folder"]) / "tokens.safetensors")["input_ids"]


def products(settings: dict[str, Any]) -> float:
    """What no contender can avoid: the host up to the site, and one encoder product a batch."""
    from transformers import AutoModel

    model = AutoModel.from_pretrained(Path(settings["folder"]) / "model")
    model.layers = model.layers[: settings["layer"] + 1]
    tokens = tokens_of(settings)
    weights = torch.randn(settings["latents"], model.config.hidden_size)
    buffer = torch.empty(settings["batch_rows"] * tokens.shape[1], settings["latents"])
    start = time.perf_counter()
    with torch.no_grad():
        for rows in tokens.split(settings["batch_rows"]):
            found = model(rows).last_hidden_state.flatten(0, 1)
            torch.mm(found, weights.T, out=buffer[: len(found)])
    return time.perf_counter() - start


def pellucid(settings: dict[str, Any]) -> float:
    """pellucid's `fit`."""
    from transformers import AutoModelForCausalLM

    from pellucid import DictionaryConfig, FitConfig, Host, TopKConfig, fit
    from pellucid.data import TensorData

    host = Host(AutoModelForCausalLM.from_pretrained(Path(settings["folder"]) / "model"), name="llama")
    tokens = tokens_of(settings)
    architecture = TopKConfig(n_latents=settings["latents"], k=settings["k"])
    config = FitConfig(
        dictionaries={"d": DictionaryConfig(site=f"layers.{settings['layer']}", architecture=architecture)},
        tokens=tokens.numel(),
        batch_rows=settings["batch_rows"],
    )
    # fit reads its starting values from held-out rows; these come on top, so that all tokens are trained on
    extra = config.sample_rows
    data = TensorData({"input_ids": torch.cat([tokens, tokens[:extra]])}, held_out=extra / (len(tokens) + extra))
    start = time.perf_counter()
    fit(config, settings["out"], host=host, data=data)
    return time.perf_counter() - start


def sparsify(settings: dict[str, Any]) -> float:
    """sparsify's Trainer with its defaults, on the model without its unembedding as its command line does."""
    from datasets import Dataset
    from sparsify import SparseCoderConfig, TrainConfig, Trainer
    from transformers import AutoModel

    model = AutoModel.from_pretrained(Path(settings["folder"]) / "model")
    rows = Dataset.from_dict({"input_ids": tokens_of(settings).tolist()}).with_format("torch")
    config = TrainConfig(
        SparseCoderConfig(num_latents=settings["latents"], k=settings["k"]), batch_size=settings["batch_rows"],
        layers=[settings["layer"]], log_to_wandb=False, save_dir=settings["out"],
    )  # fmt: skip
    start = time.perf_counter()
    Trainer(config, rows, model).fit()
    return time.perf_counter() - start


def sae_lens(settings: dict[str, Any]) -> float:
    """SAELens's LanguageModelSAETrainingRunner with its defaults, but a buffer that can hold two batches."""
    from datasets import Dataset
    from sae_lens import LanguageModelSAERunnerConfig, LanguageModelSAETrainingRunner, LoggingConfig, TopKTrainingSAEConfig

    tokens = tokens_of(settings)
    model = Path(settings["folder"]) / "model"
    width = json.loads((model / "config.json").read_text())["hidden_size"]
    config = LanguageModelSAERunnerConfig(
        sae=TopKTrainingSAEConfig(d_in=width, d_sae=settings["latents"], k=settings["k"]),
        model_name=str(model), model_class_name="AutoModelForCausalLM", hook_name=f"model.layers.{settings['layer']}",
        dataset_path="tokens", streaming=False, context_size=tokens.shape[1], prepend_bos=False,
        training_tokens=tokens.numel(), train_batch_size_tokens=settings["batch_rows"] * tokens.shape[1],
        n_batches_in_buffer=2 * settings["batch_rows"],  # the default buffer is smaller than this batch, which it refuses
        logger=LoggingConfig(log_to_wandb=False), checkpoint_path=None, output_path=settings["out"], device="cpu",
    )  # fmt: skip
    rows = Dataset.from_dict({"input_ids": tokens.tolist()})
    runner = LanguageModelSAETrainingRunner(config, override_dataset=rows)
    start = time.perf_counter()
    runner.run()
    return time.perf_counter() - start


JOBS = {"products": products, "pellucid": pellucid, "sparsify": sparsify, "sae_lens": sae_lens}


def main() -> None:
    """Run the job asked for; whatever the libraries print goes to stderr."""
    settings = json.loads(sys.argv[2])
    torch.set_num_threads(settings["threads"])
    with contextlib.redirect_stdout(sys.stderr):
        seconds = JOBS[sys.argv[1]](settings)
    # ru_maxrss is in units of 1,024 bytes on Linux
    print(json.dumps({"train_seconds": seconds, "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6}))


if __name__ == "__main__":
    main()
