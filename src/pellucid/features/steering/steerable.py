"""A host with dictionaries, and lists of edits that are checked against both before anything runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from pellucid.core.errors import ConfigError, SiteError, raise_all
from pellucid.dictionaries import Dictionary
from pellucid.evaluation import load_run
from pellucid.features.steering.components import Component, changed, codes_of, projected, sorted_edits
from pellucid.features.steering.conflicts import completed, problems_of, unknown_dictionary
from pellucid.features.steering.edit import Edit
from pellucid.features.steering.positions import Span
from pellucid.hosts import Edit as Replace
from pellucid.hosts import Head, Host, Site
from pellucid.training import run_config

EXCLUDE_FIRST = 1
"""The first position takes the attention of heads that have nothing to do: its norm is some 50 times that of others."""


@dataclass
class Steerable:
    """What is steered: a host and its dictionaries by name, each with its site."""

    host: Host
    dictionaries: Mapping[str, tuple[Dictionary, Site]] = field(default_factory=dict)
    exclude_first: int = EXCLUDE_FIRST
    """First positions of a text that the rules all, prompt and fires leave alone; indices and last reach them."""
    _head: Head | Literal[False] | None = field(default=False, repr=False)

    @classmethod
    def open(cls, run: str | Path, host: Host | None = None) -> Steerable:
        """Return a run's dictionaries on its host, which is loaded if not given.

        Warns by name (HostMismatchWarning) of a dictionary that was trained on other weights. RunError if `run` is no run
        folder or holds no dictionary.
        """
        run = Path(run)
        if host is None:
            config = run_config(run)
            host = Host.load(config.host, device=config.device, dtype=config.dtype)
        return cls(host, load_run(run, host)[0])

    def head(self, tokens: Int[Tensor, "batch n"]) -> Head | None:
        """Return the host's head, found once on the first two of these tokens; None if logits come whole."""
        if self._head is False:
            self._head = self.host.find_head({"input_ids": tokens[:1, :2]})
        return self._head

    def dictionary(self, name: str) -> tuple[Dictionary, Site]:
        """Return a dictionary and its site; ConfigError with the nearest names if there is none of that name."""
        if name not in self.dictionaries:
            raise ConfigError(unknown_dictionary(name, self.dictionaries))
        return self.dictionaries[name]

    def bind(self, edits: Sequence[Edit], prompt: int, total: int) -> Bound:
        """Check edits against the dictionaries and a text of `total` positions, its first `prompt` given.

        Raises ConfigError listing everything that does not fit: an unknown dictionary or site, a latent or position out of
        range, a direction of another width, operations that contradict each other at one position.
        """
        edits = [completed(edit, self.dictionaries) for edit in edits]
        raise_all(problems_of(edits, self.host, self.dictionaries, prompt, total, self.exclude_first), ConfigError)
        by_site: dict[Site, dict[tuple[Any, ...], list[Edit]]] = defaultdict(lambda: defaultdict(list))
        for edit in sorted_edits(edits):
            site = self.host.site(edit.site) if edit.direction is not None else self.dictionaries[edit.dictionary][1]
            by_site[site][edit.component].append(edit)
        return Bound(self, {site: self._components(list(groups.values())) for site, groups in by_site.items()}, prompt)

    def _components(self, groups: Sequence[Sequence[Edit]]) -> list[Component]:
        rows: dict[str, Tensor] = {}
        components = []
        for group in groups:
            first = group[0]
            if first.direction is not None:
                components.append(Component(torch.tensor(first.direction, device=self.host.device), tuple(group)))
                continue
            assert first.latent is not None
            name = first.dictionary
            if name not in rows:
                rows[name] = self.dictionaries[name][0].contributions().detach().float()
            components.append(Component(rows[name][first.latent], tuple(group), name, first.latent))
        return components


@dataclass
class Bound:
    """Edits that fit, ready for runs over a text."""

    steerable: Steerable
    components: dict[Site, list[Component]]
    prompt: int
    touched: dict[Site, list[int]] = field(default_factory=dict)
    """Absolute positions edited so far (of any row), by site."""

    def replacements(self, first: int = 0, keep: Bool[Tensor, "b n"] | None = None) -> dict[Site, Replace]:
        """Return what `Host.run` takes as `edit` for a call that computes the positions from `first` on.

        Positions where `keep` is False are left alone.
        """
        return {site: self._replacement(site, parts, first, keep) for site, parts in self.components.items()}

    def _replacement(self, site: Site, components: Sequence[Component], first: int, keep: Tensor | None) -> Replace:
        dictionaries = {name: dictionary for name, (dictionary, _) in self.steerable.dictionaries.items()}

        def replace(value: Tensor) -> Tensor:
            if value.ndim != 3:
                raise SiteError(f"site '{site}' has values of shape {tuple(value.shape)}, wanted [batch, positions, features]")
            for component in components:
                if len(component.row) != value.shape[-1]:
                    found = f"{value.shape[-1]} features, but what is edited there has {len(component.row)}"
                    raise SiteError(f"site '{site}' has {found}")
            span = Span(self.prompt, first, value.shape[1], self.steerable.exclude_first)
            kept = torch.ones(value.shape[:2], dtype=torch.bool, device=value.device) if keep is None else keep
            x = value.float() if value.dtype.itemsize < 4 else value
            codes = codes_of(x, components, dictionaries)
            new, edited = changed(x, components, codes, span, kept)
            new, removed = projected(new, components, codes, span, kept)
            mask = edited | removed
            at = (mask.any(dim=0).nonzero().squeeze(-1) + first).tolist()
            self.touched[site] = sorted({*self.touched.get(site, []), *at})
            return torch.where(mask.unsqueeze(-1), new.to(value.dtype), value)

        return replace
