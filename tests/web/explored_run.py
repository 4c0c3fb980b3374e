"""A run for the explorer's tests: two small dictionaries of a tiny Llama, a synthetic index, and texts that bite."""

from __future__ import annotations

import json
import threading
from contextlib import contextmanager
from pathlib import Path

import torch
from tests.conftest import tiny_llama
from tests.web.synthetic import write_run

from pellucid.dictionaries import TopKConfig, make_dictionary, save_dictionary
from pellucid.hosts import Host

SCRIPT = "<script>document.title='pwned'</script>"
HOSTILE = (
    SCRIPT, "<img src=x onerror=alert(1)>", "&amp;", '"quoted\'', "\u202edrawkcab", "\x00", "\x1b[31m", "\U0001f98a",
    "\u0627\u0644", "\n", "\t", " ", "{{ 7*7 }}", "</textarea>", "\ufeff", "javascript:alert(1)",
)  # fmt: skip
NAMES = ("local", "e2e <b>&\u202e")
"""Names of the dictionaries: the second one bites, too."""
N_LATENTS, WIDTH = 60, 32
HERE = "http://127.0.0.1:8000"
"""Address at which the test client asks."""


def tokenizer():
    """One word a token, as many as the tiny host's vocabulary."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    words = ["<unk>", "<eos>", SCRIPT, "\U0001f98a", *(f"w{i}" for i in range(93))]
    inner = Tokenizer(WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    inner.pre_tokenizer = WhitespaceSplit()
    return PreTrainedTokenizerFast(tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>")


def tiny_host() -> Host:
    return Host(tiny_llama(), name="tiny", tokenizer=tokenizer())


def make_run(folder: Path, host: Host, words: tuple[str, ...] = HOSTILE) -> Path:
    """Write the run; half of the second dictionary's atoms are those of the first, the others are new."""
    site = host.site("layers.1")
    generator = torch.Generator().manual_seed(0)
    made = [make_dictionary(TopKConfig(n_latents=N_LATENTS, k=8, bias_init="zeros"), WIDTH, generator) for _ in NAMES]
    with torch.no_grad():
        made[1].decoder[: N_LATENTS // 2] = made[0].decoder[N_LATENTS // 2 :]
    hashes = {}
    for name, dictionary in zip(NAMES, made, strict=True):
        header = {
            "name": name, "site": str(site), "objective": {"kind": "local"}, "tokens": 0,
            "host": {"name": "tiny", "weights_sha256": host.weights_digest(site)},
        }  # fmt: skip
        save_dictionary(folder / "dictionaries" / name, dictionary, header)
        hashes[name] = json.loads((folder / "dictionaries" / name / "config.json").read_text())["weights_sha256"]
    return write_run(folder, NAMES, N_LATENTS, words=words, hashes=hashes)


@contextmanager
def serving(app):
    """Serve an application on a free port of the loopback; yields its address."""
    import uvicorn

    from pellucid.web.explorer.serve import bind

    listening = bind("127.0.0.1", 0)
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False, lifespan="off"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(10)
        listening.close()
