"""What a whole training job costs beside the peers' own runners.

    make peers
    python benchmarks/whole_job.py [--tokens 100000] [--repeats 3] [--no-peers] [--json]

TopK, 4,096 latents, k = 32, at the output of block 6 of a 12-block Llama (d = 256, vocabulary 8,192, random weights), batches
of 32 rows of 128 tokens; the same model and the same token ids for all, saved to a temporary folder. Contenders: pellucid's
`fit`, SAELens's LanguageModelSAETrainingRunner, sparsify's Trainer, each otherwise with its defaults, and `products`: the
host's first seven blocks and one encoder product a batch, which nothing can avoid.

Each job is a process of its own; they run one after the other, turn by turn. `train_seconds` is the runner's own time (model
loaded, dictionary saved), `process_seconds` all from start to exit with imports, both medians over turns; `x_products` and
`x_pellucid` are medians over turns of the ratio of `train_seconds` in that turn; `peak_mb` is the process's peak memory.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from peers.client import PEERS, Missing, interpreter, surroundings
from safetensors.torch import save_file

from pellucid.core.provenance import environment

JOB = Path(__file__).parent / "peers" / "job.py"
CONTENDERS = ("products", "pellucid", "sae_lens", "sparsify")
CONTEXT, BATCH_ROWS = 128, 32


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=100_000, help="rounded up to whole batches of 4,096")
    parser.add_argument("--latents", type=int, default=4096)
    parser.add_argument("--k", type=int, default=32)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--no-peers", action="store_true", help="only pellucid and the products")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    arguments = parser.parse_args()
    if min(arguments.tokens, arguments.repeats, arguments.threads, arguments.blocks) < 1:
        parser.error("--tokens, --repeats, --threads and --blocks must be at least 1")
    contenders = [name for name in CONTENDERS if not (arguments.no_peers and name in PEERS)]
    with tempfile.TemporaryDirectory() as folder:
        n_tokens = prepare(Path(folder), arguments)
        rows, skipped = measure(Path(folder), arguments, contenders)
    result = {"tokens": n_tokens, "latents": arguments.latents, "repeats": arguments.repeats, "rows": rows, "skipped": skipped}
    result |= {**environment(), "threads": arguments.threads}
    print(json.dumps(result) if arguments.json else table(result))


def prepare(folder: Path, settings: argparse.Namespace) -> int:
    """Save the model, a tokenizer for it (SAELens loads one) and the token ids; return how many tokens there are."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    torch.manual_seed(0)
    vocabulary = 8192
    shape = {"hidden_size": settings.width, "intermediate_size": round(settings.width * 2.6875), "num_attention_heads": 8}
    shape |= {"num_hidden_layers": settings.blocks, "vocab_size": vocabulary, "max_position_embeddings": 2048}
    LlamaForCausalLM(LlamaConfig(**shape, use_cache=False)).save_pretrained(folder / "model")
    words = WordLevel({f"w{i}": i for i in range(vocabulary)}, unk_token="w0")
    PreTrainedTokenizerFast(tokenizer_object=Tokenizer(words), bos_token="w1", eos_token="w2").save_pretrained(folder / "model")
    batches = -(-settings.tokens // (BATCH_ROWS * CONTEXT))
    tokens = torch.randint(3, vocabulary, (batches * BATCH_ROWS, CONTEXT))
    save_file({"input_ids": tokens}, folder / "tokens.safetensors")
    return tokens.numel()


def measure(folder: Path, settings: argparse.Namespace, names: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, str]]]:
    """Return the rows, and what could not run with the reason."""
    given = {"folder": str(folder), "layer": settings.blocks // 2, "latents": settings.latents, "k": settings.k}
    given |= {"batch_rows": BATCH_ROWS, "threads": settings.threads}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    skipped = []
    for _ in range(settings.repeats):
        for name in list(found):
            try:
                found[name].append(job(name, {**given, "out": str(folder / "out")}))
            except Missing as reason:
                del found[name]
                skipped.append({"contender": name, "reason": str(reason)})
                print(f"skipped: {reason}", file=sys.stderr)
    return [row(name, turns, found) for name, turns in found.items()], skipped


def job(contender: str, settings: dict[str, Any]) -> dict[str, float]:
    """Run one job from start to exit; Missing if it is not installed or fails."""
    shutil.rmtree(settings["out"], ignore_errors=True)
    command = [interpreter(contender), str(JOB), contender, json.dumps(settings)]
    start = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False,
        env=surroundings(contender, settings["threads"]), cwd=settings["folder"],
    )  # fmt: skip
    seconds = time.perf_counter() - start
    if done.returncode:
        last = " | ".join(done.stderr.strip().splitlines()[-4:])
        raise Missing(f"{contender}: its process ended with status {done.returncode}: {last}")
    return {"process_seconds": seconds, **json.loads(done.stdout.splitlines()[-1])}


def row(name: str, turns: list[dict[str, float]], found: dict[str, list[dict[str, float]]]) -> dict[str, Any]:
    """Return a contender's figures: medians over turns, and ratios within a turn."""
    figures: dict[str, Any] = {"contender": name}
    figures |= {key: statistics.median(turn[key] for turn in turns) for key in ("train_seconds", "process_seconds", "peak_mb")}
    for other in ("products", "pellucid"):
        if other in found:
            pairs = zip(turns, found[other], strict=True)
            figures[f"x_{other}"] = statistics.median(mine["train_seconds"] / its["train_seconds"] for mine, its in pairs)
    return figures


def table(result: dict[str, Any]) -> str:
    """Return the rows as text."""
    lines = [
        f"{result['tokens']} tokens, {result['latents']} latents, {result['threads']} threads, {result['versions']['torch']}"
    ]
    for line in result["rows"]:
        ratios = "  ".join(f"{line[key]:5.2f} {key}" for key in ("x_products", "x_pellucid") if key in line)
        lines.append(
            f"  {line['contender']:<9} training {line['train_seconds']:6.1f} s  process {line['process_seconds']:6.1f} s  "
            f"{ratios}  {line['peak_mb']:5.0f} MB"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    main()
