"""The explorer's pages as a folder of files."""

from __future__ import annotations

import re

import pyarrow.parquet as pq
import pytest
from tests.web.explored_run import HOSTILE, SCRIPT

from pellucid.core.errors import ConfigError
from pellucid.web.explorer import export


def test_an_export_holds_the_wanted_features_and_spares_other_folders(opened, tmp_path):
    run, _ = opened
    first = export(run.run, tmp_path / "out", features=5)
    explained = {row["latent"] for row in pq.read_table(run.run / "explanations" / "local" / "pattern.parquet").to_pylist()}
    written = sorted(int(path.stem.split("-")[2]) for path in first.parent.glob("feature-0-*.html"))
    assert len(written) == 5 and set(written) <= explained
    links = re.findall(r'(?:href|src)="([^"#]*)"', "".join(path.read_text() for path in first.parent.glob("*.html")))
    assert all((first.parent / link).is_file() for link in links if link and not link.startswith("data:"))
    export(run.run, tmp_path / "out", features=3)
    assert len(list(first.parent.glob("feature-0-*.html"))) == 3, "an older export is replaced"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").touch()
    with pytest.raises(ConfigError, match="other files"):
        export(run.run, tmp_path / "mine")
    assert HOSTILE[0] == SCRIPT and SCRIPT not in (first.parent / "features-0.html").read_text()
