"""What an index should show of a latent, worked out again from its codes by plain loops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pytest

from pellucid.features.index import IndexConfig, IndexedExample

CLOSE = {"rel": 1e-4, "abs": 1e-6}


@dataclass
class Recount:
    """A text as it was indexed, its rows counted from 0."""

    ids: list[list[int]]
    texts: list[list[str]]
    config: IndexConfig

    def check(self, latent: int, fires: Mapping[tuple[int, int], float], examples: Sequence[IndexedExample]) -> None:
        """Fail unless `examples` are all that should be shown of a latent with code fires[row, position], and right."""
        assert all(example.latent == latent for example in examples)
        self._top(fires, [example for example in examples if example.quantile == 0])
        self._sampled(fires, [example for example in examples if example.quantile != 0])
        for example in examples:
            self._window(fires, example)

    def _top(self, fires: Mapping[tuple[int, int], float], shown: Sequence[IndexedExample]) -> None:
        greatest: dict[int, tuple[float, int]] = {}
        for (row, position), code in sorted(fires.items()):
            if row not in greatest or code > greatest[row][0]:
                greatest[row] = (code, position)
        wanted = sorted((-code, row, position) for row, (code, position) in greatest.items())[: self.config.top]
        assert [(e.row, e.peak_position) for e in shown] == [(row, position) for _, row, position in wanted]
        assert [e.rank for e in shown] == list(range(len(shown)))

    def _sampled(self, fires: Mapping[tuple[int, int], float], shown: Sequence[IndexedExample]) -> None:
        ascending = sorted((code, place) for place, code in fires.items())
        deciles: list[set[tuple[int, int]]] = [set() for _ in range(10)]
        for r, (_, place) in enumerate(ascending):
            deciles[10 * r // len(ascending)].add(place)
        for decile, places in enumerate(deciles, start=1):
            here = [example for example in shown if example.quantile == decile]
            found = {(e.row, e.peak_position) for e in here}
            assert len(found) == len(here) == min(self.config.per_decile, len(places)) and found <= places
            assert [e.rank for e in here] == list(range(len(here)))
            assert [e.peak for e in here] == sorted((e.peak for e in here), reverse=True)
        assert {example.quantile for example in shown} <= set(range(1, 11))

    def _window(self, fires: Mapping[tuple[int, int], float], e: IndexedExample) -> None:
        ids, texts = self.ids[e.row], self.texts[e.row]
        start, stop = max(0, e.peak_position - self.config.before), min(len(ids), e.peak_position + self.config.after + 1)
        assert e.start == start and e.tokens == ids[start:stop] and e.texts == texts[start:stop]
        codes = [fires.get((e.row, position), 0.0) for position in range(start, stop)]
        assert [code > 0 for code in e.codes] == [code > 0 for code in codes]
        assert e.codes == pytest.approx(codes, **CLOSE)
        assert e.peak == e.codes[e.peak_position - start] > 0
