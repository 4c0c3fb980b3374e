"""What ranks cannot do together is said before the first step."""

from __future__ import annotations

import pytest

from pellucid.core.errors import ConfigError
from pellucid.training.distributed.data import DataRanks
from pellucid.training.distributed.latents import LatentRanks
from pellucid.training.distributed.sites import SiteRanks, shares

CONFIG = {"steps": 3, "rank_timeout": 20.0}


@pytest.mark.parametrize(
    ("own", "what", "differs"),
    [
        ({"config": {"batch_rows": 2, "clip": 1.0}}, "config",
         ["config.batch_rows: rank 0 has 4, rank 1 has 2", "config.clip: rank 0 has 10.0, rank 1 has 1.0"]),
        ({"data": "other tokens"}, "host and data", ["data: rank 0 has '"]),
        ({"host": "other llama"}, "host and data", ["host: rank 0 has '"]),
    ],
    ids=["config", "data", "host"],
)  # fmt: skip
def test_ranks_that_disagree(start, own, what, differs):
    ranks = start("run", 2, each={1: own}, **CONFIG)
    for rank in ranks:
        assert rank.wait() == 1, rank.log
        said = rank.log[rank.log.index("pellucid.core.errors.RankError") :]
        assert f"the 2 ranks do not hold the same {what}:" in said
        assert all(line in said for line in differs) and said.count("\n  - ") == len(differs), said
    assert not (start.where / "run" / "config.yaml").exists() and not (start.where / "run" / "metrics.jsonl").exists()


def test_a_folder_of_another_config_is_refused_at_every_rank(start):
    start.whole("run", 1, steps=1)
    for rank in start("run", 2, "again", **CONFIG):
        assert rank.wait() == 1
        assert "already holds another config" in rank.log and "rank_timeout: there 600.0, here 20.0" in rank.log
        assert rank.log.count("Error: ") == 1 or "rank 0 of 2 stopped at step 0: RunError" in rank.log


def test_too_many_ranks(small):
    config = small.config()
    DataRanks.check(config, 4)
    with pytest.raises(ConfigError, match="batch_rows is 4, but 5 ranks share a batch by rows; wanted 5 or more"):
        DataRanks.check(config, 5)
    with pytest.raises(ConfigError, match="the fit has 3 dictionaries, which 4 ranks cannot share; start at most 3 ranks"):
        SiteRanks.check(config, 4)
    LatentRanks.check(small.config(parallel="latents"), 40)
    with pytest.raises(ConfigError, match="dictionary 'local' has 40 latents, which 41 ranks cannot share"):
        LatentRanks.check(small.config(parallel="latents"), 41)


def test_an_architecture_that_does_not_say_it_can_be_shared_out(small, monkeypatch):
    from pellucid.dictionaries import ARCHITECTURES

    monkeypatch.setattr(ARCHITECTURES["topk"], "parallel", ("sites",))
    SiteRanks.check(small.config(parallel="sites"), 2)
    with pytest.raises(ConfigError, match=r"dictionary 'e2e': topk cannot be trained with parallel 'data', only \('sites',\)"):
        DataRanks.check(small.config(), 2)


@pytest.mark.parametrize("size", [1, 2, 3])
def test_dictionaries_are_shared_out_whole_once_and_by_site(small, size):
    config = small.config(parallel="sites")
    parts = shares(config, size)
    assert sorted(name for part in parts for name in part) == sorted(config.dictionaries) and all(parts)
    many = {str(i): {"site": f"layers.{i // 4}", "architecture": {"kind": "topk", "n_latents": 64, "k": 3}} for i in range(8)}
    halves = shares(small.config(dictionaries=many), 2)
    assert halves == [["0", "1", "2", "3"], ["4", "5", "6", "7"]]
