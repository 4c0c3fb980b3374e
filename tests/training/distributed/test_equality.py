from __future__ import annotations

import pytest
from pathlib import Path
import sys; sys.path.insert(0, str(Path(__file__).parent))
from conftest import largest_difference


@pytest.mark.parametrize("mode", ["data", "latents", "sites"])
@pytest.mark.parametrize("data", ["tokens", "ragged"])
def test_x(fitted_over, mode, data, capsys):
    one = fitted_over("one", 1, steps=12, data=data)
    two = fitted_over("two", 2, steps=12, data=data, parallel=mode, rank_timeout=20)
    with capsys.disabled():
        print(mode, data, largest_difference(one, two))
