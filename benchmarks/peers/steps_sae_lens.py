"""SAELens's own training classes; a step is `SAETrainer.step`, what its `fit` calls for each batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import sae_lens
from sae_lens.config import SAETrainerConfig
from sae_lens.saes.batchtopk_sae import BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig
from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
from sae_lens.saes.standard_sae import StandardTrainingSAE, StandardTrainingSAEConfig
from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
from sae_lens.training.sae_trainer import SAETrainer
from task import LEARNING_RATE, Contender, Task, mean_l0
from torch import Tensor

KINDS: dict[str, tuple[Any, Any]] = {
    "topk": (TopKTrainingSAE, TopKTrainingSAEConfig),
    "batch_topk": (BatchTopKTrainingSAE, BatchTopKTrainingSAEConfig),
    "jumprelu": (JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig),
    "relu": (StandardTrainingSAE, StandardTrainingSAEConfig),
}
ARCHITECTURES = {"sae_lens": tuple(KINDS), "sae_lens_sparse": ("topk",)}
STEPS = 100_000


def version() -> str:
    """Return the library's version."""
    return f"sae-lens {sae_lens.__version__}"


def batches(task: Task) -> Iterator[Tensor]:
    """Yield the task's batches without end."""
    i = 0
    while True:
        yield task.batch(i)
        i += 1


def make(name: str, task: Task) -> Contender:
    """Return the trainer of the task's architecture with its defaults; sae_lens_sparse keeps codes as a sparse tensor."""
    make_coder, make_config = KINDS[task.architecture]
    given: dict[str, Any] = {"k": task.k} if "topk" in task.architecture else {}
    # With the default rescaling the backward of sparse codes asks for an operator that PyTorch 2.13 does not have on the CPU.
    given |= {"use_sparse_activations": True, "rescale_acts_by_decoder_norm": False} if name == "sae_lens_sparse" else {}
    coder = make_coder(make_config(d_in=task.width, d_sae=task.latents, device="cpu", **given))
    if task.architecture in ("relu", "jumprelu"):
        cut = task.cut(lambda x: coder.encode_with_hidden_pre(x)[1])
        if task.architecture == "relu":
            coder.b_enc.data -= cut
        else:
            coder.threshold.data.fill_(cut)
    config = SAETrainerConfig(
        total_training_samples=STEPS * task.tokens, train_batch_size_samples=task.tokens, lr=LEARNING_RATE, lr_end=LEARNING_RATE
    )
    trainer = SAETrainer(config, coder, batches(task))

    def step(i: int) -> None:
        trainer.step(task.batch(i))
        trainer.n_training_steps += 1  # as `fit` does after each step

    return Contender(step, lambda: mean_l0(coder.encode_with_hidden_pre(task.batch(0))[0]))
