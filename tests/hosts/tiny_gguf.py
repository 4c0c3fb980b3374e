"""A tiny random Llama and its GGUF file, as llama.cpp would write it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import gguf
import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM

WIDTH, HEADS, KV_HEADS, BLOCKS, MLP = 32, 4, 2, 2, 64
TEXT = "the  12 cats\n   3 \u00e9<|im_end|> thethe"


def _bytes_to_unicode() -> list[str]:
    """The 256 letters that byte-level BPE writes bytes with."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in plain]
    letters = {b: chr(b) for b in plain} | {b: chr(256 + i) for i, b in enumerate(others)}
    return [letters[b] for b in range(256)]


TOKENS = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", *_bytes_to_unicode(), "th", "the", "\u0120\u0120"]
MERGES = ["t h", "th e", "\u0120 \u0120"]


def make_model() -> LlamaForCausalLM:
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(TOKENS),
        hidden_size=WIDTH,
        num_attention_heads=HEADS,
        num_key_value_heads=KV_HEADS,
        num_hidden_layers=BLOCKS,
        intermediate_size=MLP,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        rope_parameters={"rope_type": "default", "rope_theta": 1e5},
        tie_word_embeddings=True,
    )
    return LlamaForCausalLM(config).eval()


def _pairs(weight: torch.Tensor, heads: int) -> torch.Tensor:
    """Rows in GGUF order, written row by row: row 2i + s of a head is row i + s h / 2 of transformers."""
    size = weight.shape[0] // heads
    order = [head * size + i + s * size // 2 for head in range(heads) for i in range(size // 2) for s in range(2)]
    return weight[order]


def gguf_tensors(model: LlamaForCausalLM) -> dict[str, torch.Tensor]:
    tensors = {"token_embd.weight": model.model.embed_tokens.weight, "output_norm.weight": model.model.norm.weight}
    for i, block in enumerate(model.model.layers):
        attention, mlp = block.self_attn, block.mlp
        tensors |= {
            f"blk.{i}.attn_norm.weight": block.input_layernorm.weight,
            f"blk.{i}.attn_q.weight": _pairs(attention.q_proj.weight, HEADS),
            f"blk.{i}.attn_k.weight": _pairs(attention.k_proj.weight, KV_HEADS),
            f"blk.{i}.attn_v.weight": attention.v_proj.weight,
            f"blk.{i}.attn_output.weight": attention.o_proj.weight,
            f"blk.{i}.ffn_norm.weight": block.post_attention_layernorm.weight,
            f"blk.{i}.ffn_gate.weight": mlp.gate_proj.weight,
            f"blk.{i}.ffn_up.weight": mlp.up_proj.weight,
            f"blk.{i}.ffn_down.weight": mlp.down_proj.weight,
        }
    return {name: tensor.detach() for name, tensor in tensors.items()}


def write_gguf(path: Path, tensors: dict[str, torch.Tensor], quantise: bool = False, pre: str = "smollm") -> Path:
    writer = gguf.GGUFWriter(path, "llama")
    writer.add_name("tiny")
    writer.add_block_count(BLOCKS)
    writer.add_context_length(128)
    writer.add_embedding_length(WIDTH)
    writer.add_feed_forward_length(MLP)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e5)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(WIDTH // HEADS)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(TOKENS)
    writer.add_token_types([3] * 3 + [1] * (len(TOKENS) - 3))
    writer.add_token_merges(MERGES)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_pad_token_id(2)
    writer.add_unk_token_id(0)
    for name, tensor in tensors.items():
        data = tensor.numpy().astype(np.float32)
        if quantise and data.ndim == 2:
            kind = gguf.GGMLQuantizationType.Q4_1
            writer.add_tensor(name, gguf.quants.quantize(data, kind), raw_dtype=kind)
        else:
            writer.add_tensor(name, data)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def sha256_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
