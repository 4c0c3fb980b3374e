"""Turn a Llama in a GGUF file into an ordinary Hugging Face folder with float32 weights."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from jaxtyping import Float
from torch import Tensor

from pellucid.core.errors import FileFormatError, raise_all
from pellucid.core.files import save_tensors
from pellucid.core.logging import Ticker
from pellucid.hosts.gguf import GgufFile, read_header, read_tensor
from pellucid.hosts.gguf_tokenizer import save_tokenizer, special_tokens

if TYPE_CHECKING:
    from transformers import LlamaConfig

T = TypeVar("T")

CONVERTER = 1
"""Raised when the folder written from the same file changes, so that an old copy in the cache is redone."""

_BLOCK_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert(source: Path, folder: Path) -> dict[str, Any]:
    """Write config.json, model.safetensors and the tokenizer of the GGUF file `source` to `folder`.

    The unembedding is stored only if the file has its own; otherwise the config ties it to the embedding.
    Returns what the file says about itself (name, license, storage kinds). Raises FileFormatError if the file is
    damaged, is no Llama, or does not hold exactly the tensors its metadata call for.
    """
    file = read_header(source)
    config = _config(file)
    names = _tensor_names(config.num_hidden_layers, tied=config.tie_word_embeddings)
    _check_shapes(file, config, names)
    config.save_pretrained(folder)
    save_tokenizer(file, folder)
    weights: dict[str, Tensor] = {}
    with Ticker("convert weights", total=sum(file.tensors[old].n_bytes / 1e6 for old in names), unit="MB") as ticker:
        for old, new in names.items():
            heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}.get(old.split(".")[-2])
            tensor = read_tensor(file, old)
            weights[new] = tensor if heads is None else _rotary_halves(tensor, heads)
            ticker.advance(file.tensors[old].n_bytes / 1e6)
    save_tensors(folder / "model.safetensors", weights, metadata={"format": "pt"})
    kinds = sorted({_kind(file, name) for name in file.tensors})
    about = {key: file.metadata.get(f"general.{key}") for key in ("name", "organization", "license")}
    return about | {"stored_as": kinds, "parameters": sum(t.numel() for t in weights.values())}


def _kind(file: GgufFile, name: str) -> str:
    import gguf

    return str(gguf.GGMLQuantizationType(file.tensors[name].kind).name)


class _Metadata:
    """Typed look-ups that collect every problem, so that all are reported at once."""

    def __init__(self, file: GgufFile) -> None:
        self.values = file.metadata
        self.problems: list[str] = []

    def get(self, key: str, kind: type[T], default: T) -> T:
        value = self.values.get(key, default)
        if not isinstance(value, kind) or isinstance(value, bool):
            self.problems.append(f"metadata key '{key}' is {value!r}, wanted {kind.__name__}")
            return default
        return value

    def whole(self, key: str) -> int:
        number = self.get(key, int, 0)
        if number < 1:
            self.problems.append(f"metadata key '{key}' is missing or below 1")
        return max(number, 1)

    def positive(self, key: str, default: float = math.nan) -> float:
        number = self.get(key, float, default)
        if not 0.0 < number < math.inf:
            self.problems.append(f"metadata key '{key}' is {number}, wanted a positive number")
        return number


def _config(file: GgufFile) -> LlamaConfig:
    """Translate the metadata; what the network would need but this does not translate is refused."""
    from transformers import LlamaConfig

    meta = _Metadata(file)
    architecture = file.metadata.get("general.architecture")
    if architecture != "llama":
        meta.problems.append(f"architecture is {architecture!r}, wanted 'llama'")
    scaling = [key for key in file.metadata if key.startswith("llama.rope.scaling.")]
    meta.problems += [f"metadata key '{key}': scaled rotary positions are not supported" for key in scaling]
    values = _sizes(meta)
    n_blocks = values["num_hidden_layers"]
    if n_blocks > len(file.tensors):
        meta.problems.append(f"{n_blocks} blocks are declared, but only {len(file.tensors)} tensors")
    raise_all(meta.problems, FileFormatError, title=f"{file.path} is not a model this converter knows")
    ids: dict[str, Any] = {f"{name}_id": token for name, token in special_tokens(file).items() if name != "unk_token"}
    tied = "output.weight" not in file.tensors
    return LlamaConfig(**values, **ids, tie_word_embeddings=tied, architectures=["LlamaForCausalLM"], dtype="float32")


def _sizes(meta: _Metadata) -> dict[str, Any]:
    """The numbers of the config; what contradicts itself is added to `meta.problems`."""
    width, heads = meta.whole("llama.embedding_length"), meta.whole("llama.attention.head_count")
    kv_heads = meta.whole("llama.attention.head_count_kv")
    rotary = meta.get("llama.rope.dimension_count", int, width // heads)
    if width % heads or rotary != width // heads or rotary % 2:
        meta.problems.append(f"{heads} heads on width {width} do not fit rotary dimension {rotary}")
    if heads % kv_heads:
        meta.problems.append(f"{kv_heads} key-value heads do not divide {heads} heads")
    tokens = meta.get("tokenizer.ggml.tokens", list, [])
    if not tokens or not all(isinstance(token, str) for token in tokens):
        meta.problems.append("metadata key 'tokenizer.ggml.tokens' is missing or no list of texts")
    return {
        "hidden_size": width,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "num_hidden_layers": meta.whole("llama.block_count"),
        "intermediate_size": meta.whole("llama.feed_forward_length"),
        "max_position_embeddings": meta.whole("llama.context_length"),
        "vocab_size": len(tokens),
        "rms_norm_eps": meta.positive("llama.attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": meta.positive("llama.rope.freq_base", 10000.0)},
    }


def _tensor_names(n_blocks: int, tied: bool) -> dict[str, str]:
    """Name in the GGUF file -> name in the PyTorch model."""
    names = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    for block in range(n_blocks):
        names |= {f"blk.{block}.{old}.weight": f"model.layers.{block}.{new}.weight" for old, new in _BLOCK_NAMES.items()}
    return names if tied else names | {"output.weight": "lm_head.weight"}


def _check_shapes(file: GgufFile, config: LlamaConfig, names: dict[str, str]) -> None:
    """Compare the declared tensors with those the config calls for, before any weight is read."""
    problems = [f"tensor '{old}' is missing" for old in names if old not in file.tensors]
    problems += [f"tensor '{old}' is not used" for old in file.tensors if old not in names]
    raise_all(problems[:10], FileFormatError, title=f"{file.path} does not hold the tensors of its Llama")
    width, mlp, vocabulary = config.hidden_size, config.intermediate_size, config.vocab_size
    keys = width // config.num_attention_heads * (config.num_key_value_heads or config.num_attention_heads)
    wanted = {"token_embd": (vocabulary, width), "output": (vocabulary, width), "output_norm": (width,)}
    wanted |= {"attn_norm": (width,), "ffn_norm": (width,), "attn_q": (width, width), "attn_output": (width, width)}
    wanted |= {"attn_k": (keys, width), "attn_v": (keys, width)}
    wanted |= {"ffn_gate": (mlp, width), "ffn_up": (mlp, width), "ffn_down": (width, mlp)}
    problems = [
        f"tensor '{old}' has shape {file.tensors[old].shape}, wanted {wanted[old.split('.')[-2]]}"
        for old in names
        if file.tensors[old].shape != wanted[old.split(".")[-2]]
    ]
    raise_all(problems[:10], FileFormatError, title=f"{file.path} does not fit its own metadata")


def _rotary_halves(weight: Float[Tensor, "rows width"], n_heads: int) -> Float[Tensor, "rows width"]:
    """Reorder the rows of each head from rotary pairs (0, 1), (2, 3), ... to halves (0, h/2), (1, h/2 + 1), ...

    GGUF keeps the two numbers a rotation mixes next to each other; transformers keeps them half a head apart.
    """
    rows, width = weight.shape
    pairs = weight.reshape(n_heads, rows // n_heads // 2, 2, width)
    return pairs.transpose(1, 2).reshape(rows, width)
