from __future__ import annotations

from typing import Literal

import pytest
import torch

from pellucid.core.config import Config, build, dump
from pellucid.core.errors import ConfigError
from pellucid.dictionaries import ARCHITECTURES, AnyArchitecture, ArchitectureBase, Dictionary, make_dictionary

SAMPLE = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))


class Holder(Config):
    architecture: AnyArchitecture


@pytest.fixture(params=list(ARCHITECTURES))
def config(request):
    values = {"kind": request.param, "n_latents": 12}
    if "k" in ARCHITECTURES[request.param].Config.model_fields:
        values["k"] = 3
    if request.param == "latent_quantization":
        values |= {"n_values": 4, "hidden": (5,)}
    return build(Holder, {"architecture": values}).architecture


def test_names_configs_and_classes_agree():
    for name, cls in ARCHITECTURES.items():
        assert issubclass(cls, Dictionary)
        assert issubclass(cls.Config, ArchitectureBase)
        assert cls.kind == name == cls.Config.model_fields["kind"].default


def test_kind_picks_the_config_class(config):
    assert type(config) is ARCHITECTURES[config.kind].Config
    assert build(Holder, {"architecture": config}).architecture == config
    assert f"kind: {config.kind}" in dump(Holder(architecture=config))


def test_same_generator_state_gives_the_same_bytes(config):
    first, again, other = (make_dictionary(config, 6, torch.Generator().manual_seed(seed), SAMPLE) for seed in (5, 5, 6))
    for name, value in first.state_dict().items():
        assert torch.equal(value, again.state_dict()[name])
    assert not torch.equal(first.decoder, other.decoder)


def test_parameters_have_the_stated_names_and_shapes(config):
    dictionary = make_dictionary(config, 6, sample=SAMPLE)
    shapes = {name: tuple(value.shape) for name, value in dictionary.named_parameters()}
    usual = {"encoder": (12, 6), "encoder_bias": (12,), "decoder": (12, 6), "decoder_bias": (6,)}
    gates = usual | {"log_gain": (12,), "magnitude_bias": (12,)}
    nets = {"encoder_net": ((5, 6), (3, 5)), "decoder_net": ((5, 3), (6, 5))}
    layers = [(f"{net}.{2 * i}", shape) for net, both in nets.items() for i, shape in enumerate(both)]
    assert shapes == {
        "latent_quantization": {f"{name}.weight": shape for name, shape in layers}
        | {f"{name}.bias": shape[:1] for name, shape in layers}
        | {"values": (3, 4)},
        "snmf": {"decoder": (12, 6)},
        "skip_transcoder": usual | {"skip": (6, 6)},
        "gated": gates,
        "gated_p_anneal": gates,
        "jumprelu": usual | {"log_threshold": (12,)},
        "gba": {"encoder": (12, 6), "gain": (12,), "decoder_bias": (6,)},
        "matching_pursuit": {"decoder": (12, 6), "decoder_bias": (6,)},
        "archetypal": {k: v for k, v in usual.items() if k != "decoder"}
        | {"mixture": (12, 12), "deviation": (12, 6), "log_scale": ()},
        "codebook": {"codes": (12, 6)},
        "threshold": {"directions": (12, 6), "log_threshold": (12,)},
    }.get(config.kind, usual)
    assert dictionary.n_latents == 12
    assert dictionary.d_in == 6


def test_codes_are_not_negative_and_atoms_are_unit(config):
    dictionary = make_dictionary(config, 6, torch.Generator().manual_seed(0), SAMPLE)
    forward = dictionary(SAMPLE)
    assert forward.codes.shape == (40, 12)
    assert forward.pre is None or forward.pre.shape == (40, 12)
    assert (forward.codes >= 0).all()
    assert forward.codes is forward.codes  # built once
    assert dictionary.decoder.shape == (12, 6)
    torch.testing.assert_close(dictionary.atoms().norm(dim=1), torch.ones(12), rtol=0, atol=1e-6)


def test_every_setting_has_its_sentence(config):
    assert all(field.description for field in type(config).model_fields.values())


def test_unknown_architecture_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"unknown architecture 'topq'. Did you mean 'topk'"):
        build(Holder, {"architecture": {"kind": "topq"}})
    with pytest.raises(ConfigError, match="unknown architecture None"):
        build(Holder, {"architecture": {"n_latents": 3}})

    class Strange(ArchitectureBase):
        kind: Literal["rellu"] = "rellu"

    with pytest.raises(ConfigError, match=r"unknown architecture 'rellu'. Did you mean 'relu'"):
        make_dictionary(Strange(), 6)


@pytest.mark.parametrize("d_in", [0, -1, 2**40])
def test_impossible_width_is_refused(config, d_in):
    with pytest.raises(ConfigError, match="wanted a site width"):
        make_dictionary(config, d_in, sample=SAMPLE)
