"""dictionary_learning's own trainers; a step is the trainer's `update`."""

from __future__ import annotations

import importlib.metadata

from dictionary_learning.trainers.batch_top_k import BatchTopKTrainer
from dictionary_learning.trainers.jumprelu import JumpReluTrainer
from dictionary_learning.trainers.standard import StandardTrainer
from dictionary_learning.trainers.top_k import TopKTrainer
from task import LEARNING_RATE, Contender, Task, mean_l0

TRAINERS = {"topk": TopKTrainer, "batch_topk": BatchTopKTrainer, "jumprelu": JumpReluTrainer, "relu": StandardTrainer}
ARCHITECTURES = {"dictionary_learning": tuple(TRAINERS)}


def version() -> str:
    """Return the library's version."""
    return f"dictionary-learning {importlib.metadata.version('dictionary-learning')}"


def make(name: str, task: Task) -> Contender:
    """Return the trainer of the task's architecture with its defaults."""
    given = {"k": task.k} if task.architecture in ("topk", "batch_topk") else {}
    given |= {"target_l0": float(task.k)} if task.architecture == "jumprelu" else {}
    trainer = TRAINERS[task.architecture](
        steps=100_000, activation_dim=task.width, dict_size=task.latents, layer=0, lm_name="none", lr=LEARNING_RATE,
        device="cpu", **given,
    )  # fmt: skip
    coder = trainer.ae
    if task.architecture == "relu":
        coder.encoder.bias.data -= task.cut(lambda x: coder.encoder(x - coder.bias))
    elif task.architecture == "jumprelu":
        coder.threshold.data.fill_(task.cut(lambda x: x @ coder.W_enc + coder.b_enc))
    encode = (lambda x: coder.encode(x, use_threshold=False)) if task.architecture == "batch_topk" else coder.encode
    return Contender(lambda i: trainer.update(i, task.batch(i)), lambda: mean_l0(encode(task.batch(0))))
