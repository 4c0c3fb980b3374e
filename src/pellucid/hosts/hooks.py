"""Hooks and stand-in forwards that are gone when their block ends, whatever happened inside it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from pellucid.core.errors import SiteError
from pellucid.hosts.site import Site
from pellucid.hosts.trees import fetch, first_float, put

Visit = Callable[[Tensor], Tensor | None]


class Stop(Exception):
    """Ends a forward once every wanted value has been seen."""


@dataclass(frozen=True)
class _Watch:
    """Hooks that show a site's value to `visit`."""

    site: Site
    visit: Visit

    def replaced(self, value: Any) -> Any:
        """Return what the module takes or gives instead; None for no change."""
        site = self.site
        path = first_float(value, site.index)
        if path is None:
            wanted = "a floating tensor" if site.index is None else f"entry {site.index}"
            raise SiteError(f"site '{site}' has no {wanted}: module '{site.path}' gives {type(value).__name__} as {site.side}")
        new = self.visit(fetch(value, path))
        return None if new is None else put(value, path, new)

    def on_output(self, _: nn.Module, __: Any, output: Any) -> Any:
        return self.replaced(output)

    def on_input(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if first_float(args, self.site.index) is None and self.site.index is None:
            changed = self.replaced(kwargs)
            return None if changed is None else (args, changed)
        changed = self.replaced(args)
        return None if changed is None else (changed, kwargs)


@contextmanager
def visiting(module: nn.Module, site: Site, visit: Visit) -> Iterator[None]:
    """Call `visit` with the site's value at each call; a tensor it returns takes the value's place."""
    target, watch = module.get_submodule(site.path), _Watch(site, visit)
    if site.side == "output":
        handle = target.register_forward_hook(watch.on_output)
    else:
        handle = target.register_forward_pre_hook(watch.on_input, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def standing_in(module: nn.Module, forward: Callable[..., Any]) -> Iterator[None]:
    """Run `forward` in the place of the module's own forward."""
    before = module.__dict__.get("forward")
    module.__dict__["forward"] = forward
    try:
        yield
    finally:
        if before is None:
            del module.__dict__["forward"]
        else:
            module.__dict__["forward"] = before


@contextmanager
def frozen(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no parameter gradients; every module and parameter is as before afterwards."""
    modes = [(child, child.training) for child in module.modules() if child.training]
    grads = [parameter for parameter in module.parameters() if parameter.requires_grad]
    with ExitStack() as stack:
        for child, mode in modes:
            stack.callback(setattr, child, "training", mode)
            child.training = False
        for parameter in grads:
            stack.callback(parameter.requires_grad_, True)
            parameter.requires_grad_(False)
        yield
