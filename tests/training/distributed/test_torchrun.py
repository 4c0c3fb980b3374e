"""The command line under torchrun, as a user types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

WORDS = [f"word{i}" for i in range(20)]
ARCHITECTURE = ["--site", "layers.1", "--n-latents", "64", "--k", "4", "--tokens", "1024", "--batch-rows", "4"]


@pytest.fixture(scope="module")
def language(small, tmp_path_factory):
    """Flags that name a host and text on disk."""
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("language")
    small.host().module.save_pretrained(folder / "host")
    plain = Tokenizer(models.WordLevel({word: i for i, word in enumerate(["<eos>", "<unk>", *WORDS])}, unk_token="<unk>"))
    plain.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="<eos>", unk_token="<unk>").save_pretrained(folder / "host")
    draw = torch.Generator().manual_seed(0)
    texts = [" ".join(WORDS[i] for i in torch.randint(0, len(WORDS), (40,), generator=draw)) for _ in range(40)]
    (folder / "text.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    return ["--host", str(folder / "host"), "--data.source", str(folder / "text.jsonl"), "--data.context", "16"]


def _torchrun(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", "0", "--standalone",
            "-m", "pellucid", "fit", *arguments]  # fmt: skip


def test_two_ranks_give_the_run_of_one(language, tmp_path):
    flags = [*language, *ARCHITECTURE, "--evaluation.features", "2"]
    one = [sys.executable, "-m", "pellucid", "fit", *flags, "--out", str(tmp_path / "one")]
    two = _torchrun(*flags, "--out", str(tmp_path / "two"), "--json")
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for command in (one, two)]
    _, (out, err) = [process.communicate(timeout=240) for process in runs]
    assert [process.returncode for process in runs] == [0, 0], err
    assert json.loads(out)["dictionaries"][0]["name"] == "main", "one rank speaks, once"
    mine, theirs = (load_file(tmp_path / name / "dictionaries" / "main" / "weights.safetensors") for name in ("one", "two"))
    assert max(float((mine[key] - theirs[key]).abs().max()) for key in mine) < 1e-5
    assert {path.name for path in (tmp_path / "one").iterdir()} == {path.name for path in (tmp_path / "two").iterdir()}


def test_a_killed_rank_is_named_by_the_other(language, tmp_path):
    run = tmp_path / "run"
    flags = [*language, *ARCHITECTURE[:-4], "--tokens", "10000000", "--batch-rows", "4", "--checkpoint-seconds", "0"]
    process = subprocess.Popen(_torchrun(*flags, "--out", str(run)), stderr=subprocess.PIPE, text=True)
    try:
        while not (run / "checkpoint").exists():
            assert process.poll() is None
            time.sleep(0.05)
        os.kill(_worker(process.pid, 1), signal.SIGKILL)
        _, err = process.communicate(timeout=120)
    finally:
        process.terminate()
    assert process.returncode != 0
    assert "pellucid fit: rank 1 of 2 no longer answers: killed, suspended or cut off" in err, err


def _worker(parent: int, rank: int) -> int:
    """Return the process number of a rank that torchrun started."""
    children = [int(pid) for pid in Path(f"/proc/{parent}/task/{parent}/children").read_text().split()]
    return next(pid for pid in children if f"\0RANK={rank}\0".encode() in Path(f"/proc/{pid}/environ").read_bytes())
