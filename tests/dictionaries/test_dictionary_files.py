from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from pellucid.core.errors import ConfigError, FileFormatError, NumericsError
from pellucid.core.files import sha256_file
from pellucid.dictionaries import (
    BatchTopKConfig,
    Dictionary,
    GatedConfig,
    JumpReluConfig,
    ReluConfig,
    TopKConfig,
    load_dictionary,
    make_dictionary,
    save_dictionary,
)

HEADER = {
    "site": "layers.8",
    "objective": {"kind": "e2e", "kl": 1.0},
    "host": {"name": "tiny", "weights_sha256": "0" * 64},
    "tokens": 1234,
}
CONFIGS = {
    "relu": ReluConfig(n_latents=20, l1=2.5),
    "topk": TopKConfig(n_latents=20, k=3),
    "batch_topk": BatchTopKConfig(n_latents=20, k=3),
    "gated": GatedConfig(n_latents=20, l1=0.5),
    "jumprelu": JumpReluConfig(n_latents=20, target_l0=3.0),
    "square": TopKConfig(n_latents=6, k=2),  # m = d: a transposed weight would have the same shape
}
SAMPLE = torch.randn(30, 6, generator=torch.Generator().manual_seed(0))


def made(name: str = "topk") -> Dictionary:
    dictionary = make_dictionary(CONFIGS[name], 6, torch.Generator().manual_seed(1), SAMPLE)
    with torch.no_grad():  # encoder and decoder differ after this
        dictionary.encoder += 0.1 * torch.randn(dictionary.encoder.shape, generator=torch.Generator().manual_seed(2))
        dictionary(SAMPLE)  # a batch of training, for what is learnt from batches
    return dictionary.eval()


@pytest.fixture
def folder(tmp_path) -> Path:
    save_dictionary(tmp_path / "sae", made(), HEADER)
    return tmp_path / "sae"


def edit_config(folder: Path, **changes) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def edit_weights(folder: Path, change) -> None:
    """Change the tensors and make the hash agree, as an attacker would."""
    path = folder / "weights.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path)
    edit_config(folder, weights_sha256=sha256_file(path))


@pytest.mark.parametrize("name", list(CONFIGS))
def test_round_trip_is_byte_equal(name, tmp_path):
    dictionary = made(name)
    save_dictionary(tmp_path / "a", dictionary, {**HEADER, "name": "first", "provenance": {"seed": 3}})
    loaded, header = load_dictionary(tmp_path / "a")
    assert type(loaded) is type(dictionary)
    assert loaded.config == dictionary.config
    for key, value in dictionary.state_dict().items():
        assert torch.equal(value, loaded.state_dict()[key])
    assert torch.equal(loaded(SAMPLE).reconstruction, dictionary(SAMPLE).reconstruction)
    assert torch.equal(loaded(SAMPLE).codes, dictionary(SAMPLE).codes)
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    assert {key: header[key] for key in HEADER} == HEADER
    assert header["name"] == "first"
    assert header["provenance"] == {"seed": 3}
    save_dictionary(tmp_path / "b", loaded, {**HEADER, "name": "first", "provenance": {"seed": 3}})
    for file in ("config.json", "weights.safetensors"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_round_trip_keeps_the_dtype(dtype, tmp_path):
    dictionary = made().to(dtype)
    save_dictionary(tmp_path / "sae", dictionary, HEADER)
    loaded, header = load_dictionary(tmp_path / "sae")
    assert loaded.decoder.dtype == dtype
    assert torch.equal(loaded.decoder, dictionary.decoder)
    assert header["dtype"] == str(dtype).removeprefix("torch.")


def test_saving_again_replaces_and_leaves_nothing_behind(folder):
    save_dictionary(folder, made("relu"), HEADER)
    assert load_dictionary(folder)[0].kind == "relu"
    assert sorted(entry.name for entry in folder.parent.iterdir()) == ["sae"]
    assert sorted(entry.name for entry in folder.iterdir()) == ["config.json", "weights.safetensors"]


@pytest.mark.parametrize("place", ["write_json", "_sync"])
def test_a_failed_save_leaves_the_old_dictionary(folder, monkeypatch, place):
    def fail(path, *_):
        if place == "write_json" or any(folder.parent.glob(".sae.older.*")):  # before or in the middle of the swap
            raise OSError("disk full")

    monkeypatch.setattr(f"pellucid.core.files.{place}", fail)
    with pytest.raises(OSError, match="disk full"):
        save_dictionary(folder, made("relu"), HEADER)
    assert load_dictionary(folder)[0].kind == "topk"
    assert [entry.name for entry in folder.parent.iterdir()] == ["sae"]


def test_a_folder_with_other_files_is_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(FileFormatError, match=r"holds other files .thesis.tex."):
        save_dictionary(tmp_path, made(), HEADER)
    with pytest.raises(FileFormatError, match="is a file, wanted a folder"):
        save_dictionary(tmp_path / "thesis.tex", made(), HEADER)
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_bad_header_is_refused_with_everything_at_once(tmp_path):
    with pytest.raises(ConfigError) as error:
        save_dictionary(tmp_path / "sae", made(), {"site": "layers.8", "tokens": -1, "hosst": {}, "objective": {}})
    for part in ("'host' is missing", "unknown key 'hosst'. Did you mean 'host'", "'tokens'"):
        assert part in str(error.value)
    with pytest.raises(ConfigError, match="'d_in' is filled in by save_dictionary"):
        save_dictionary(tmp_path / "sae", made(), {**HEADER, "d_in": 6})
    assert not (tmp_path / "sae").exists()


def test_non_finite_weights_are_not_written(tmp_path):
    dictionary = made()
    with torch.no_grad():
        dictionary.encoder_bias[3] = float("nan")
    with pytest.raises(NumericsError, match="'encoder_bias' has 1 of 20 values that are not finite"):
        save_dictionary(tmp_path / "sae", dictionary, HEADER)
    assert not (tmp_path / "sae").exists()


@pytest.mark.parametrize("missing", ["config.json", "weights.safetensors"])
def test_missing_file(folder, missing):
    (folder / missing).unlink()
    with pytest.raises(FileFormatError, match=f"{missing} does not exist"):
        load_dictionary(folder)


@pytest.mark.parametrize("keep", [0, 4, 200])
def test_truncated_weights_are_named_by_their_hash(folder, keep):
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(FileFormatError, match=r"weights.safetensors has sha256 \w+, but config.json says"):
        load_dictionary(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"\xff" * 64, (2**60).to_bytes(8, "little") + b"{}"])
def test_weights_that_are_no_safetensors(folder, content):
    (folder / "weights.safetensors").write_bytes(content)
    edit_config(folder, weights_sha256=sha256_file(folder / "weights.safetensors"))
    with pytest.raises(FileFormatError, match="not a readable safetensors file"):
        load_dictionary(folder)


def test_missing_unused_and_misshaped_tensors_are_listed_at_once(folder):
    def change(tensors):
        del tensors["encoder"]
        tensors["threshold"] = torch.zeros(3)
        tensors["decoder"] = tensors["decoder"].T.contiguous()

    edit_weights(folder, change)
    with pytest.raises(FileFormatError) as error:
        load_dictionary(folder)
    for part in ("'encoder' is missing", "'threshold' is not used", "'decoder' has shape (6, 20), wanted (20, 6)"):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("name", "buffer", "value", "message"),
    [
        ("batch_topk", "threshold", -1.0, "'threshold' is -1.0, wanted 0 or more"),
        ("batch_topk", "threshold_weight", 2.0, "'threshold_weight' is 2.0, wanted 0 to 1"),
        ("jumprelu", "input_scale", 0.0, "'input_scale' is 0.0, wanted more than 0"),
    ],
)
def test_buffers_are_in_the_file_and_checked_like_weights(name, buffer, value, message, tmp_path):
    folder = tmp_path / "sae"
    save_dictionary(folder, made(name), HEADER)
    edit_weights(folder, lambda tensors: tensors.update({buffer: torch.tensor(value)}))
    with pytest.raises(FileFormatError, match=message):
        load_dictionary(folder)
    edit_weights(folder, lambda tensors: tensors.update({buffer: torch.tensor(value, dtype=torch.int64)}))
    with pytest.raises(FileFormatError, match=rf"'{buffer}' is torch.int64, wanted torch.float32"):
        load_dictionary(folder)
    edit_weights(folder, lambda tensors: tensors.pop(buffer))
    with pytest.raises(FileFormatError, match=f"'{buffer}' is missing"):
        load_dictionary(folder)


def test_other_dtype_and_non_finite_weights(folder):
    edit_weights(folder, lambda tensors: tensors.update(decoder_bias=torch.full((6,), float("inf"))))
    with pytest.raises(FileFormatError, match="'decoder_bias' has 6 of 6 values that are not finite"):
        load_dictionary(folder)
    edit_weights(folder, lambda tensors: tensors.update(decoder_bias=torch.zeros(6, dtype=torch.int32)))
    with pytest.raises(FileFormatError, match=r"'decoder_bias' is torch.int32, wanted torch.float32"):
        load_dictionary(folder)


def test_sizes_in_the_header_allocate_nothing(folder):
    edit_config(folder, d_in=2**28, architecture={"kind": "topk", "n_latents": 2**28, "k": 3})
    with pytest.raises(FileFormatError, match=r"wanted .268435456, 268435456."):
        load_dictionary(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, "is not the config of a dictionary"),
        ({"version": 2}, "has format version 2, this pellucid reads 1"),
        ({"architecture": {"kind": "topkk"}}, "unknown architecture 'topkk'. Did you mean 'topk'"),
        ({"architecture": {"kind": "topk", "n_latents": 20, "k": 21}}, "k = 21 latents per token"),
        ({"architecture": {"kind": "topk", "n_latents": 10**30, "k": 2}}, "n_latents"),
        ({"architecture": {"kind": "relu", "l1": float("nan")}}, "l1"),
        ({"dtype": "complex64"}, "dtype"),
        ({"d_in": 0}, "d_in"),
        ({"tokens": "many"}, "tokens"),
        ({"weights_sha256": "../x"}, "weights_sha256"),
        ({"sitee": "layers.8"}, "unknown key 'sitee'. Did you mean 'site'"),
    ],
)
def test_hostile_headers(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(FileFormatError, match=message):
        load_dictionary(folder)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not valid JSON"),
        ("[1]", "not the config"),
        ("{", "not valid JSON"),
        ("[" * 200_000, "nested too deep|not valid JSON"),
    ],
)
def test_config_that_is_no_header(folder, text, message):
    (folder / "config.json").write_text(text)
    with pytest.raises(FileFormatError, match=message):
        load_dictionary(folder)


def test_a_huge_config_is_not_read(folder, monkeypatch):
    monkeypatch.setattr("pellucid.dictionaries.files.LARGEST_CONFIG", 100)
    with pytest.raises(FileFormatError, match="bytes, wanted at most 100"):
        load_dictionary(folder)
