from __future__ import annotations

import math

import pytest
import torch

from pellucid.circuits import best_codes, jensen_shannon
from pellucid.core.errors import ConfigError


def test_the_best_code_equals_a_count():
    generator = torch.Generator().manual_seed(0)
    codes, classes = (torch.randint(most, (300,), generator=generator) for most in (9, 4))
    classes = torch.where(codes == 2, 1, classes)  # code 2 is precise
    found = best_codes(codes, classes, 5, least_recall=0.05)
    for state in range(4):
        table = {}
        for code in range(9):
            both = sum(c == code and s == state for c, s in zip(codes.tolist(), classes.tolist(), strict=True))
            recall = both / int((classes == state).sum())
            if recall >= 0.05:
                table[code] = (both / int((codes == code).sum()), recall)
        best = max(table, key=lambda code: table[code])
        assert int(found.code[state]) == best
        assert (float(found.precision[state]), float(found.recall[state])) == pytest.approx(table[best])
    assert int(found.code[1]) == 2 and float(found.precision[1]) == 1
    assert int(found.code[4]) == -1 and float(found.precision[4]) == 0, "a class that never occurs has no code"


def test_a_code_that_fires_too_rarely_does_not_count():
    codes, classes = torch.tensor([0] * 20 + [1]), torch.tensor([0, 1] * 10 + [1])
    assert best_codes(codes, classes, 2, least_recall=0.5).code.tolist() == [0, 0]
    assert best_codes(codes, classes, 2, least_recall=0.05).code.tolist() == [0, 1]
    with pytest.raises(ConfigError, match="got 0 positions"):
        best_codes(codes[:0], classes[:0], 2)


def test_the_divergence_equals_a_naive_sum():
    p, q = torch.rand(2, 6, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p[0, 1] = 0
    p, q = p / p.sum(dim=1, keepdim=True), q / q.sum(dim=1, keepdim=True)
    for row, found in enumerate(jensen_shannon(p, q).tolist()):
        total = 0.0
        for a, b in zip(p[row].tolist(), q[row].tolist(), strict=True):
            total += sum(x * math.log(2 * x / (a + b)) for x in (a, b) if x > 0) / 2
        assert found == pytest.approx(total)
    assert jensen_shannon(p, p).abs().max() < 1e-12
    assert float(jensen_shannon(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0]))) == pytest.approx(math.log(2))
