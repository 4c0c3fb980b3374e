"""Does setting a feature move the token its atom says? Real dictionaries, held-out text.

    python benchmarks/steering.py RUN [--features 100] [--texts 16] [--context 32] [--seed 0] [--json]

RUN is a finished run of `pellucid demo`. Of every dictionary `--features` alive latents are sampled (`sample_latents`: all
frequencies in the numbers in which they exist). Each is set, at every position but the first of `--texts` held-out texts, to
its greatest code on the held-out rows that were counted; the log-probability of the token that its atom raises most on the
direct path (`logit_effects`) is read at the last four positions of every text.

    raised_up      features for which the mean log-probability of the most raised token went up
    lowered_down   features for which that of the most lowered token went down
    control_up     features for which another sampled latent, set to its own greatest code, raises the token
    shift          median over features of the mean change of the log-probability, in nats
    kl             median over features of the mean KL to the original

Group ablation (claim 9.2): the latents that most raise a token's log-odds when it is right, ablated together, beside random
latents of the same firing frequency. Random directions at equal KL (claim 10.3): the gain of the raised token by the feature,
and by random directions at the same site whose strength is searched until the KL is the same.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from pellucid.core import config as configs
from pellucid.core.provenance import environment
from pellucid.data import load_text
from pellucid.features import logit_effects, sample_latents
from pellucid.features.codes import held_out_codes
from pellucid.features.steering import Edit, EditedPass, Steerable, ablate_group, match_kl, random_direction
from pellucid.features.steering.intervals import mean_of
from pellucid.features.steering.passes import kl_divergence
from pellucid.training import FitConfig

READ = 4
"""Last positions of every text that are read."""
COUNTED = 24
"""Held-out rows on which firings are counted and greatest codes taken."""


class Setting:
    """Texts, firings and greatest codes of a run."""

    def __init__(self, run: Path, texts: int, context: int) -> None:
        self.steerable = Steerable.open(run)
        host = self.steerable.host
        self.data = load_text(configs.load(FitConfig, run / "config.yaml").data, host.tokenizer)
        # Texts come after the rows that are counted, so that no greatest code is from a text.
        rows = self.data.held_out_rows(torch.arange(COUNTED, COUNTED + texts)).inputs["input_ids"][:, :context]
        read = torch.zeros(rows.shape, dtype=torch.bool)
        read[:, -1 - READ : -1] = True
        sites = [site for _, site in self.steerable.dictionaries.values()]
        self.texts = EditedPass(self.steerable, rows, read=read, sites=sites)
        self.firings: dict[str, Tensor] = {}
        self.greatest: dict[str, Tensor] = {}
        coders = self.steerable.dictionaries
        for _, codes_of in held_out_codes(host, self.data, coders, rows=COUNTED, batch_rows=8, title="counting"):
            for name in coders:
                codes = codes_of(name)
                self.firings[name] = self.firings.get(name, 0) + (codes > 0).sum(dim=0)
                self.greatest[name] = torch.maximum(self.greatest.get(name, codes[0]), codes.amax(dim=0))

    def effects(self, name: str, latents: list[int]) -> Tensor:
        """Direct effect of each latent's atom on every logit."""
        dictionary, site = self.steerable.dictionaries[name]
        head, inputs = self.steerable.head(self.texts.tokens), {"input_ids": self.texts.tokens[:1]}
        found = logit_effects(self.steerable.host, site, dictionary.contributions()[latents], head, inputs=inputs)
        assert found.values is not None, found.reason
        return found.values

    def set_to_greatest(self, name: str, latent: int) -> Tensor:
        """Log-probabilities at the read positions with a latent at its greatest code."""
        value = float(self.greatest[name][latent])
        return self.texts.after([Edit(dictionary=name, latent=latent, operation="set", value=value)])


def directions(setting: Setting, name: str, features: int, seed: int) -> dict[str, Any]:
    """Set sampled features one by one; count how often the tokens move as the atoms say."""
    latents = sample_latents(setting.firings[name], features, seed)
    effects = setting.effects(name, latents)
    top, bottom = effects.argmax(dim=1), effects.argmin(dim=1)
    before = setting.texts.before
    raised, lowered, control, kl = [], [], [], []
    for place in range(len(latents)):
        after = setting.set_to_greatest(name, latents[place])
        change = (after - before).mean(dim=0)
        raised.append(float(change[top[place]]))
        lowered.append(float(change[bottom[place]]))
        # The control of the feature half way round the sample, which fires at another frequency and has another atom.
        control.append(float(change[top[(place + len(latents) // 2) % len(latents)]]))
        kl.append(float(kl_divergence(before, after).mean()))
    return {
        "features": len(latents),
        "raised_up": sum(x > 0 for x in raised),
        "lowered_down": sum(x < 0 for x in lowered),
        "control_up": sum(x > 0 for x in control),
        "shift": statistics.median(raised),
        "shift_lowered": statistics.median(lowered),
        "shift_control": statistics.median(control),
        "kl": statistics.median(kl),
        "wrong": [latent for latent, x in zip(latents, raised, strict=True) if x <= 0],
    }


def ablations(setting: Setting, name: str, group: int, seed: int) -> dict[str, Any]:
    """Ablate the latents that carry the read positions' own next tokens, beside matched random ones."""
    steerable, texts = setting.steerable, setting.texts
    dictionary, site = steerable.dictionaries[name]
    value = steerable.host.run({"input_ids": texts.tokens}, capture=[site], stop=True).values[site]
    codes = dictionary.encode(value[texts.read])
    places, labels = texts.labels()
    effects = setting.effects(name, list(range(dictionary.n_latents)))[:, labels]  # [m, l]
    share = (codes[places] * (effects - effects.mean(dim=1, keepdim=True)).T).mean(dim=0)
    share[setting.firings[name] == 0] = -torch.inf
    latents = share.topk(group).indices.tolist()

    def loss(before: Tensor, after: Tensor) -> Tensor:
        return (before - after)[places, labels]

    found = ablate_group(texts, name, latents, setting.firings[name], measure=loss, seed=seed)
    return {
        "group": found.latents,
        "ce_increase": found.effect,
        "control_mean": statistics.mean(found.controls),
        "control_max": max(found.controls),
        "controls": len(found.controls),
        "p_value": found.p_value,
    }


def equal_kl(setting: Setting, name: str, features: int, randoms: int, seed: int) -> dict[str, Any]:
    """Gain of the raised token by features, and by random directions at the same KL."""
    latents = sample_latents(setting.firings[name], features, seed)
    top = setting.effects(name, latents).argmax(dim=1).tolist()
    texts, (_, site) = setting.texts, setting.steerable.dictionaries[name]
    own, random = [], []
    for place, latent in enumerate(latents):
        after = setting.set_to_greatest(name, latent)
        target = float(kl_divergence(texts.before, after).mean())
        own.append(float((after - texts.before)[:, top[place]].mean()))
        for i in range(randoms):
            direction = random_direction(texts.steerable.dictionaries[name][0].d_in, seed=seed + place * randoms + i)
            edit = Edit(site=str(site), direction=direction, value=1.0)
            found, _ = match_kl(texts, edit, target, tolerance=0.05)
            random.append(float((texts.after([found]) - texts.before)[:, top[place]].mean()))
    gain, noise = mean_of(torch.tensor(own)), mean_of(torch.tensor(random))
    interval = lambda e: {"mean": e.value, "low": e.low, "high": e.high, "n": e.n}  # noqa: E731
    return {"feature": interval(gain), "random": interval(noise)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("--features", type=int, default=100)
    parser.add_argument("--texts", type=int, default=16)
    parser.add_argument("--context", type=int, default=32)
    parser.add_argument("--group", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    rows: dict[str, Any] = {}
    with torch.no_grad():
        setting = Setting(options.run, options.texts, options.context)
        with setting.steerable.host.held():
            for name in setting.steerable.dictionaries:
                rows[name] = {
                    "directions": directions(setting, name, options.features, options.seed),
                    "ablation": ablations(setting, name, options.group, options.seed),
                    "equal_kl": equal_kl(setting, name, 8, 2, options.seed),
                }
                print(name, json.dumps(rows[name]), file=sys.stderr, flush=True)
    result = {
        **environment(),
        "command": f"python benchmarks/steering.py {' '.join(sys.argv[1:])}",
        "host": setting.steerable.host.name,
        "data_digest": setting.data.digest(),
        "seed": options.seed,
        "positions_read": int(setting.texts.read.sum()),
        "dictionaries": rows,
    }
    print(json.dumps(result, indent=None if options.json else 2))


if __name__ == "__main__":
    main()
