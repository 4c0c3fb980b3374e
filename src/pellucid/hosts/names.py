"""The common names of sites in a stack of blocks, found by structure and not by a list of models."""

from __future__ import annotations

from torch import nn

from pellucid.hosts.site import Site

ATTENTION = ("self_attn", "attn", "attention", "self_attention", "attn_1")
MLP = ("mlp", "feed_forward", "ffn", "ff")
ATTENTION_OUT = ("o_proj", "out_proj", "c_proj", "dense", "wo")
MLP_OUT = ("down_proj", "c_proj", "dense_4h_to_h", "fc2", "fc_out", "w2", "wo")
FINAL_NORM = ("norm", "ln_f", "final_layer_norm", "final_layernorm", "ln_final")
MIN_BLOCKS = 2


def find_blocks(module: nn.Module) -> list[str]:
    """Return the paths of the longest stack of like blocks (one class, each with children), in order; or []."""
    best: list[str] = []
    for path, child in module.named_modules():
        if not isinstance(child, (nn.ModuleList, nn.Sequential)) or len(child) < MIN_BLOCKS:
            continue
        items = list(child)
        alike = len({type(item) for item in items}) == 1 and any(True for _ in items[0].children())
        if alike and len(items) > len(best):
            best = [f"{path}.{i}" if path else str(i) for i in range(len(items))]
    return best


def common_names(module: nn.Module, blocks: list[str]) -> dict[str, Site]:
    """Return every conventional name, TransformerLens hook names included, with the site it means."""
    names: dict[str, Site] = {}
    for i, path in enumerate(blocks):
        names |= _block_names(module, i, path)
    getter = getattr(module, "get_input_embeddings", None)
    embedding = getter() if callable(getter) else None
    for path, child in module.named_modules():
        if embedding is not None and child is embedding:
            _add(names, Site(path), "embed", "hook_embed")
    if blocks:
        parent = module.get_submodule(blocks[0].rsplit(".", 2)[0]) if blocks[0].count(".") > 1 else module
        prefix = blocks[0].rsplit(".", 2)[0] + "." if blocks[0].count(".") > 1 else ""
        for child_name in FINAL_NORM:
            if hasattr(parent, child_name):
                _add(names, Site(prefix + child_name), "norm", "ln_final.hook_normalized")
                break
    return names


def _block_names(module: nn.Module, i: int, path: str) -> dict[str, Site]:
    names: dict[str, Site] = {}
    block = module.get_submodule(path)
    _add(names, Site(path), f"layers.{i}", f"layers.{i}.output", f"blocks.{i}.hook_resid_post")
    _add(names, Site(path, "input"), f"layers.{i}.input", f"blocks.{i}.hook_resid_pre")
    attention = _child(block, ATTENTION)
    if attention:
        where = f"{path}.{attention}"
        _add(names, Site(where), f"layers.{i}.attn", f"layers.{i}.attn.output", f"blocks.{i}.hook_attn_out")
        out = _child(block.get_submodule(attention), ATTENTION_OUT)
        if out:
            _add(names, Site(f"{where}.{out}", "input"), f"layers.{i}.attn.z", f"blocks.{i}.attn.hook_z")
    mlp = _child(block, MLP)
    if mlp:
        where = f"{path}.{mlp}"
        _add(names, Site(where), f"layers.{i}.mlp", f"layers.{i}.mlp.output", f"blocks.{i}.hook_mlp_out")
        _add(names, Site(where, "input"), f"layers.{i}.mlp.input")
        out = _child(block.get_submodule(mlp), MLP_OUT)
        if out:
            _add(names, Site(f"{where}.{out}", "input"), f"layers.{i}.mlp.hidden", f"blocks.{i}.mlp.hook_post")
    return names


def _child(module: nn.Module, candidates: tuple[str, ...]) -> str | None:
    children = {name for name, _ in module.named_children()}
    return next((name for name in candidates if name in children), None)


def _add(names: dict[str, Site], site: Site, *aliases: str) -> None:
    named = Site(site.path, site.side, site.index, site.axis, name=aliases[0])
    for alias in aliases:
        names[alias] = named
