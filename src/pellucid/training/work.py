"""How many operations the passes and updates of a fit need: what achieved GFLOP/s are told from."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from pellucid.hosts import Host, Site
from pellucid.training.learner import Learner


class Work:
    """Operations (a multiplication or an addition each) that a fit needs, whatever the kernels really do.

    Counted, for n positions and 2 operations a multiply-add:
      host pass         2 n W, W the numbers in the weight matrices (parameters of two or more dimensions) of the blocks up to
                        the end of the one in which the last site lies; all blocks where an objective splices
      dictionary        2 n m d for the encoder, and 8 n' d L0 for decoding and the gradients of codes, decoder and encoder,
                        n' the kept positions
      its splice        4 n W' for the blocks after its site, forward and the gradient of their inputs, and 4 n V for the head;
                        once a step 2 n V for the original's
    Not counted: embeddings, attention scores, norms, softmax and KL, selection, auxiliary terms, the optimizer. In a host of
    which a token uses a part (mixture of experts), or that has no blocks (nothing is counted then), the figures say little.
    """

    def __init__(self, host: Host, learners: Sequence[Learner], positions: int, head: nn.Module | None) -> None:
        """`positions` of a step on this process, left-out ones included; `head` turns features into logits."""
        self.positions = positions
        self._blocks = [_matrices([host.module.get_submodule(path)]) for path in host.blocks]
        self._head = _matrices([head]) if head is not None else 0
        spliced = [learner for learner in learners if learner.objective.splices]
        sites = [site for learner in learners for site in (*learner.place.sites, *learner.downstream)]
        last = len(self._blocks) if spliced else max((self._until(host, site) for site in sites), default=0)
        self.host = 2.0 * positions * sum(self._blocks[:last])
        """Operations of one pass of the host."""
        self.shared = 2.0 * positions * self._head if spliced else 0.0
        """Operations of the original's logits, which all dictionaries of a step share."""
        self._splices = {learner.name: 4 * positions * self._after(host, learner.target) for learner in spliced}

    def update(self, learner: Learner, l0: float, kept: int) -> float:
        """Return the operations of one update of a dictionary that kept `l0` codes a token on so many positions."""
        m, d = learner.dictionary.n_latents, learner.dictionary.d_in
        l0 *= m / learner.config.architecture.n_latents  # of ranks that share the latents each does its part
        return 2 * kept * m * d + 8 * kept * d * l0 + self._splices.get(learner.name, 0)

    def _until(self, host: Host, site: Site) -> int:
        """Return how many blocks run before a site's value exists, its own one included."""
        block = host.block_of(site)
        if block is None:
            return len(self._blocks)
        return block if site.path == host.blocks[block] and site.side == "input" else block + 1

    def _after(self, host: Host, site: Site) -> int:
        """Return the numbers in the weight matrices that a run from a site on uses: later blocks and the head."""
        return sum(self._blocks[self._until(host, site) :]) + self._head


def _matrices(modules: Iterable[nn.Module]) -> int:
    """Return the numbers in the weight matrices of modules, a shared one once."""
    found = {id(p): p.numel() for module in modules for p in module.parameters() if p.ndim > 1}
    return sum(found.values())
