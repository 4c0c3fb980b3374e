"""The network under study: the user's own module, hooked in place, never copied or re-implemented."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, nullcontext, suppress
from typing import Any

import torch
from torch import Tensor, nn

from pellucid.core.errors import SiteError, did_you_mean
from pellucid.core.files import sha256_tensors
from pellucid.core.logging import log
from pellucid.hosts.hooks import Stop, frozen, visiting
from pellucid.hosts.language import load
from pellucid.hosts.names import common_names, find_blocks
from pellucid.hosts.replay import Call, Plan, Prefix, hide, needed_calls, recording, replaying, same_bits, skippable, trace
from pellucid.hosts.result import Edit, Head, Result
from pellucid.hosts.site import Site, split_name
from pellucid.hosts.trees import first_float, leaves, map_tensors
from pellucid.hosts.visitor import Visitor
from pellucid.hosts.widths import widths


class Host:
    """Any `nn.Module`, with named sites to capture, edit, splice, stop at and resume from.

    The module is run frozen and in evaluation mode; its modes, gradients and hooks are as before after every call.
    """

    def __init__(
        self,
        module: nn.Module,
        *,
        name: str | None = None,
        tokenizer: Any = None,
        output: Callable[[Any], Tensor] | None = None,
        blocks: Sequence[str] | None = None,
    ) -> None:
        """Wrap a module.

        `output` picks the logits from what the module returns (default: `.logits`, or the first floating tensor);
        `blocks` are the paths of the blocks in order (default: the longest stack of like modules).
        """
        self.module = module
        self.name = name or type(module).__name__
        self.tokenizer = tokenizer
        self._pick = output
        self.blocks = list(blocks) if blocks is not None else find_blocks(module)
        self._paths = {path for path, _ in module.named_modules()}
        self._common = common_names(module, self.blocks)
        self._plans: dict[Site, Plan] = {}
        self._calls: dict[Site, int] = {}
        self._held = 0

    @classmethod
    def load(cls, name_or_path: str, *, device: str = "cpu", dtype: str | torch.dtype = "float32") -> Host:
        """Load a language model by catalogue name ('smollm2'), folder or hub name; see `hosts.language.load`."""
        module, tokenizer = load(name_or_path, device=device, dtype=dtype)
        return cls(module, name=name_or_path, tokenizer=tokenizer)

    @property
    def device(self) -> torch.device:
        """Device of the host's first parameter."""
        return next((p.device for p in self.module.parameters()), torch.device("cpu"))

    def site(self, name: str | Site) -> Site:
        """Return the site of that name.

        A name is a common one (`layers.8`, `layers.8.attn.z`), a TransformerLens hook name, or a module path, with
        `.input` or `.output`, a tuple index `[1]` and the feature axis `@1` as needed. The feature axis is 1 for
        convolutional outputs and the last one otherwise. Raises SiteError with the nearest names.
        """
        if isinstance(name, Site):
            return name
        if name in self._common:
            return self._common[name]
        parts = split_name(name)
        if parts is None:
            raise SiteError(f"site '{name}' cannot be read; write PATH, PATH.input or PATH.output, then [INDEX], @AXIS")
        stem, index, axis = parts
        if stem in self._common:
            base = self._common[stem]
        elif stem in self._paths:
            base = Site(stem, axis=self._feature_axis(stem))
        elif (path := stem.removesuffix(".input")) in self._paths and stem.endswith("input"):
            base = Site(path, "input", axis=self._feature_axis(path))
        elif (path := stem.removesuffix(".output")) in self._paths:
            base = Site(path, axis=self._feature_axis(path))
        else:
            raise SiteError(f"unknown site '{name}' in {self.name}.{did_you_mean(stem, self.site_names())}{self._block_hint()}")
        index = base.index if index is None else index
        return Site(base.path, base.side, index, base.axis if axis is None else axis, name=name)

    def site_names(self) -> list[str]:
        """Every common name and module path."""
        return [*self._common, *sorted(self._paths - {""})]

    def widths(self, inputs: Any) -> dict[str, int]:
        """Return the feature width of every common name (or module path, if there are none), by one dry pass."""
        sites = {str(site): site for site in self._common.values() if site.path in self._paths}
        if not self.blocks:
            sites |= {path: self.site(path) for path in sorted(self._paths - {""})}
        return widths(self.module, sites, lambda: self._call(inputs))

    def downstream(self, site: Site, *, last: bool = False) -> list[Site]:
        """Return the outputs of the blocks after a site, in order; the final block's output only if `last`."""
        here = self.block_of(site)
        if here is None:
            return []
        own_output = site.path == self.blocks[here] and site.side == "output"
        stop = len(self.blocks) if last else len(self.blocks) - 1
        return [self.site(f"layers.{i}") for i in range(here + own_output, stop)]

    def block_of(self, site: Site) -> int | None:
        """Return the number of the block that holds a site; None if it lies in no block (-1 before the first)."""
        for i, path in enumerate(self.blocks):
            if site.path == path or site.path.startswith(path + "."):
                return i
        return None

    def weights_digest(self, site: Site) -> str:
        """Return a sha256 of the weights of the block that holds the site (of the whole host outside a block)."""
        block = self.block_of(site)
        module = self.module if block is None else self.module.get_submodule(self.blocks[block])
        return sha256_tensors(dict(module.state_dict()))

    def find_head(self, inputs: Any) -> Head | None:
        """Return the last module if it alone turns features into this host's logits, by one dry pass; else None."""
        with self.held(), torch.no_grad():
            events, stack = trace(self.module)
            with stack:
                logits = self.logits(self._call(inputs))
            path = next((path for kind, path, _ in reversed(events) if kind == "enter"), "")
            if not path:
                return None
            site = Site(path, "input")
            try:
                features = self.run(inputs, capture=[site], stop=True).values[site]
                same = same_bits(self.module.get_submodule(path)(features), logits)
            except (SiteError, RuntimeError, TypeError):
                return None
        return Head(site, self.module.get_submodule(path)) if same else None

    def logits(self, output: Any) -> Tensor:
        """Return the tensor of logits [..., classes] in a host's output."""
        if self._pick is not None:
            return self._pick(output)
        if hasattr(output, "logits"):
            return output.logits
        path = first_float(output, None)
        if path is None:
            raise SiteError(f"the output of {self.name} holds no floating tensor; pick logits with Host(..., output=...)")
        return next(tensor for where, tensor in leaves(output) if where == path)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep the host frozen over many runs; without it every run freezes and restores by itself."""
        with frozen(self.module) if self._held == 0 else nullcontext():
            self._held += 1
            try:
                yield
            finally:
                self._held -= 1

    @contextmanager
    def edit(self, changes: Mapping[str, Edit] | Mapping[Site, Edit]) -> Iterator[None]:
        """Change values in every call of the module inside, also in those of your own code, like `module.generate`.

        Each function takes a site's value with features last, [positions..., d], and returns what takes its place. A later
        or inner edit of a site is given what an earlier or outer one left. Raises SiteError for an unknown site, and in the
        call for a function that returns another shape.
        """
        places = [(self.site(name), change) for name, change in changes.items()]
        with ExitStack() as stack:
            stack.enter_context(self.held())
            for site, change in places:
                stack.enter_context(visiting(self.module, site, Visitor(site, change)))
            yield

    def run(
        self,
        inputs: Any,
        *,
        capture: Sequence[Site] = (),
        edit: Mapping[Site, Edit] | None = None,
        prefixes: Sequence[Site] = (),
        resume: Prefix | None = None,
        stop: bool = False,
    ) -> Result:
        """Run the host once.

        `capture`: sites whose values are returned, as they flow on (after an edit there).
        `edit`: functions that replace values. `prefixes`: sites a later run resumes from. `resume`: start at that
        prefix's site and skip the calls before it; the same `inputs` must be given. `stop`: end without an output once
        every wanted value has been seen. Gradients flow if they are enabled and an edit returns a tensor that needs one.
        """
        edit = edit or {}
        result = Result(None, {}, {site: Prefix(self._plans[site]) for site in prefixes})
        watched = list(dict.fromkeys([*edit, *capture, *prefixes]))
        left = {site: self._calls.get(site, 1) for site in watched} if stop else {}
        with ExitStack() as stack:
            stack.enter_context(self.held())
            if resume is not None:
                stack.enter_context(replaying(self.module, resume))
            # Recording hooks go first so that a run which stops at a site has seen the site's own call.
            stack.enter_context(recording(self.module, list(result.prefixes.values())))
            seen: dict[Site, list[Tensor]] = {}
            for site in watched:
                kept = seen if site in capture else None
                visit = Visitor(site, edit.get(site), kept, result.prefixes.get(site), left)
                stack.enter_context(visiting(self.module, site, visit))
            with suppress(Stop):
                result.output = self._call(inputs)
        result.values = {site: found[0] if len(found) == 1 else torch.stack(found) for site, found in seen.items()}
        self._check_seen(result, watched, seen, capture)
        return result

    def prepare(self, inputs: Any, sites: Sequence[Site]) -> None:
        """Find out how to resume from each site, by running small `inputs`; done once per site."""
        for site in sites:
            if site not in self._plans:
                self._plans[site] = self._plan(inputs, site)

    def resumable(self, site: Site) -> bool:
        """True if a prepared site can be resumed from; False if every run must begin at the start."""
        return bool(self._plans[site].skipped)

    def _plan(self, inputs: Any, site: Site) -> Plan:
        """Choose what a resumed run skips, and check by experiment that it gives the full run's bits."""
        with self.held(), torch.no_grad():
            events, stack = trace(self.module)
            with stack:
                full = map_tensors(self._call(inputs), torch.clone)
            calls = [number for kind, path, number in events if path == site.path and kind == "exit"]
            if not calls:
                raise SiteError(f"site '{site}' of {self.name} was not reached by these inputs")
            self._calls[site] = len(calls)
            skipped = skippable(events, site) if len(calls) == 1 else ()
            self._plans[site] = Plan(site, skipped, frozenset(skipped))
            prefix = self.run(inputs, prefixes=[site]).prefixes[site]

            def exact(hidden: Collection[Call]) -> bool:
                plan = Plan(site, skipped, frozenset(skipped).difference(hidden))
                trial = Prefix(plan, prefix.value, hide(prefix.outputs, hidden))
                try:
                    return same_bits(self.run(inputs, resume=trial).output, full)
                except RuntimeError:  # a placeholder was written into: it is needed
                    return False

            if not exact([]):
                log.warning("%s cannot be resumed from site '%s' exactly; runs start at the beginning", self.name, site)
                return Plan(site, (), frozenset())
            return Plan(site, skipped, needed_calls(site, skipped, exact))

    def _call(self, inputs: Any) -> Any:
        if isinstance(inputs, Mapping):
            return self.module(**inputs)
        return self.module(*inputs) if isinstance(inputs, tuple) else self.module(inputs)

    def _check_seen(self, result: Result, watched: list[Site], seen: dict[Site, list[Tensor]], capture: Sequence[Site]) -> None:
        missing = [str(site) for site in capture if site not in seen]
        missing += [str(site) for site, prefix in result.prefixes.items() if prefix.value is None]
        if missing:
            raise SiteError(
                f"sites {missing} of {self.name} were not reached by this run (watched: {[str(s) for s in watched]})"
            )

    def _feature_axis(self, path: str) -> int:
        module = self.module.get_submodule(path)
        convolutional = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm)
        return 1 if isinstance(module, convolutional) else -1

    def _block_hint(self) -> str:
        return f" It has {len(self.blocks)} blocks: layers.0 to layers.{len(self.blocks) - 1}." if self.blocks else ""
