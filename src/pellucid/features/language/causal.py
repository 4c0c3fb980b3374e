"""A causal language model in this process."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from numpy import ndarray
from torch import Tensor

from pellucid.core.errors import ConfigError
from pellucid.features.language.base import LanguageModel
from pellucid.hosts import Host


class CausalModel(LanguageModel):
    """Any causal language model with a tokenizer, loaded as a host."""

    def __init__(self, host: Host, *, batch: int = 16, max_context: int = 1024) -> None:
        """Use a host's module and tokenizer; prompts beyond `max_context` tokens lose their beginning."""
        if host.tokenizer is None:
            raise ConfigError(f"{host.name} has no tokenizer, so it cannot be asked in words; name a model that has one")
        self.host, self.batch, self.max_context = host, batch, max_context
        self.name = host.name
        self._tokens = 0
        ids = [host.tokenizer.encode(word, add_special_tokens=False) for word in (" Yes", " No")]
        self._yes, self._no = (found[0] for found in ids)

    @classmethod
    def load(cls, name_or_path: str, *, device: str = "cpu") -> CausalModel:
        """Load by catalogue name or folder; raises as `Host.load` does."""
        return cls(Host.load(name_or_path, device=device))

    @torch.no_grad()
    def complete(self, prompt: str, max_tokens: int = 40) -> str:
        """Return the greedy answer to a prompt, as a chat turn where the tokenizer has a chat template."""
        tokenizer = self.host.tokenizer
        if tokenizer.chat_template:
            turn = [{"role": "user", "content": prompt}]
            prompt = tokenizer.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
        ids = torch.tensor([self._ids(prompt)], device=self.host.device)
        start = ids.shape[1]
        with self.host.held():
            module = self.host.module
            past, new = None, ids
            for _ in range(max_tokens):
                out = module(input_ids=new, past_key_values=past, use_cache=True)
                past, new = out.past_key_values, out.logits[:, -1:].argmax(dim=-1)
                if int(new) == tokenizer.eos_token_id:
                    break
                ids = torch.cat([ids, new], dim=1)
        self._tokens += ids.shape[1]
        return tokenizer.decode(ids[0, start:], skip_special_tokens=True).strip()

    @torch.no_grad()
    def yes(self, prompts: Sequence[str], neutral: str) -> Float[ndarray, " n"]:
        """Return sigmoid(l(prompt) - l(neutral)), l = log p(" Yes") - log p(" No") after the prompt.

        Small models prefer one word whatever is asked; the difference takes that out (contextual calibration).
        """
        odds = torch.cat([self._odds(prompts[i : i + self.batch]) for i in range(0, len(prompts), self.batch)])
        return torch.sigmoid(odds - self._odds([neutral])).numpy()

    @torch.no_grad()
    def log_prob(self, prompts: Sequence[str], continuations: Sequence[str]) -> Float[ndarray, " n"]:
        """Return log p(continuation | prompt) in nats, summed over the continuation's tokens."""
        found = []
        for prompt, continuation in zip(prompts, continuations, strict=True):
            head, tail = self._ids(prompt), self._ids(continuation)
            ids = torch.tensor([head + tail], device=self.host.device)
            with self.host.held():
                logits = self.host.logits(self.host.module(input_ids=ids))[0, len(head) - 1 : -1]
            self._tokens += ids.shape[1]
            found.append(logits.float().log_softmax(-1).gather(1, ids[0, len(head) :, None]).sum())
        return torch.stack(found).cpu().numpy()

    def cost(self) -> dict[str, float]:
        """Return the number of tokens read and written."""
        return {"tokens": float(self._tokens)}

    def _ids(self, text: str) -> list[int]:
        ids = self.host.tokenizer.encode(text, add_special_tokens=False)[-self.max_context :]
        return ids or [self.host.tokenizer.eos_token_id or 0]

    def _odds(self, prompts: Sequence[str]) -> Float[Tensor, " n"]:
        rows = [self._ids(prompt) for prompt in prompts]
        width = max(map(len, rows))
        # Padded on the right: under causal attention nothing before the padding sees it.
        ids = torch.tensor([row + [0] * (width - len(row)) for row in rows], device=self.host.device)
        last = torch.tensor([len(row) - 1 for row in rows], device=self.host.device)
        with self.host.held():
            logits = self.host.logits(self.host.module(input_ids=ids))[torch.arange(len(rows)), last].float()
        self._tokens += int(ids.numel())
        return (logits[:, self._yes] - logits[:, self._no]).cpu()
