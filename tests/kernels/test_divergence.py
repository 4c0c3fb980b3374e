from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from pellucid.kernels import divergence
from pellucid.kernels.divergence import Teacher, mean_kl, plain_kl

N, D, V = 23, 6, 40
DIRECTIONS = pytest.mark.parametrize("reverse", [False, True], ids=["forward", "reverse"])
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["fp32", "fp64"])


def readout_of(dtype: torch.dtype = torch.float64) -> nn.Linear:
    head = nn.Linear(D, V)
    for i, parameter in enumerate(head.parameters()):
        nn.init.normal_(parameter, generator=torch.Generator().manual_seed(i))
    return head.to(dtype).requires_grad_(False)


def features_of(seed: int, dtype: torch.dtype = torch.float64, d: int = D) -> torch.Tensor:
    return torch.randn(N, d, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


@pytest.fixture(params=[1, 5, N, 1000], ids=lambda rows: f"chunks of {rows}")
def chunk(request, monkeypatch):
    """Positions in a chunk."""
    monkeypatch.setattr(divergence, "CHUNK_NUMBERS", request.param * V)
    return request.param


@DIRECTIONS
def test_plain_kl_equals_a_loop_over_rows_and_classes(reverse):
    p, q = (features_of(seed, d=V).softmax(-1) for seed in (1, 2))
    found = plain_kl(p.log() + 3, q.log() - 5, reverse=reverse)  # a shift of the logits means nothing
    for row in range(N):
        a, b = (q[row], p[row]) if reverse else (p[row], q[row])
        wanted = sum(float(a[v]) * float(torch.log(a[v] / b[v])) for v in range(V))
        assert float(found[row]) == pytest.approx(wanted, abs=1e-12)


@DIRECTIONS
@DTYPES
def test_mean_kl_and_its_gradient_equal_the_plain_form(reverse, dtype, chunk):
    head, original, spliced = readout_of(dtype), features_of(1, dtype), features_of(2, dtype)
    fast, plain = spliced.clone().requires_grad_(), spliced.clone().requires_grad_()
    found = mean_kl(Teacher(head, original), fast, reverse=reverse)
    wanted = plain_kl(head(original), head(plain), reverse=reverse).mean()
    assert_close(found, wanted.to(found.dtype), atol=1e-6, rtol=1e-6)
    (3 * found).backward()
    (3 * wanted).backward()
    exact = 1e-6 if dtype == torch.float64 else 2e-5
    assert_close(fast.grad, plain.grad, atol=exact * float(plain.grad.abs().max()), rtol=0)


@DIRECTIONS
def test_gradient_equals_finite_differences(reverse):
    head, original, spliced = readout_of(), features_of(1), features_of(2).requires_grad_()
    mean_kl(Teacher(head, original), spliced, reverse=reverse).backward()
    step, direction = 1e-5, features_of(3)

    def value(by: float) -> float:
        return float(plain_kl(head(original), head(spliced.detach() + by * direction), reverse=reverse).mean())

    assert float((spliced.grad * direction).sum()) == pytest.approx((value(step) - value(-step)) / (2 * step), rel=1e-7)


@DIRECTIONS
def test_the_size_of_a_chunk_does_not_matter(reverse, monkeypatch):
    head, original, spliced = readout_of(), features_of(1), features_of(2)

    def found(rows: int) -> tuple[torch.Tensor, torch.Tensor]:
        monkeypatch.setattr(divergence, "CHUNK_NUMBERS", rows * V)
        x = spliced.clone().requires_grad_()
        kl = mean_kl(Teacher(head, original), x, reverse=reverse)
        kl.backward()
        return kl.detach(), x.grad

    for rows in (1, 2, 7, 22):
        assert_close(found(rows), found(N), atol=1e-12, rtol=1e-12)


@DIRECTIONS
def test_a_shared_teacher_equals_unshared_ones(reverse, chunk):
    head, original = readout_of(torch.float32), features_of(1, torch.float32)
    calls = []

    def counted(features):
        calls.append(len(features))
        return head(features)

    shared = Teacher(counted, original, shared=True)
    for seed in (2, 3):
        x, y = (features_of(seed, torch.float32).requires_grad_() for _ in range(2))
        calls.clear()
        left = mean_kl(shared, x, reverse=reverse)
        read = sum(calls)
        right = mean_kl(Teacher(head, original), y, reverse=reverse)
        left.backward()
        right.backward()
        assert torch.equal(left, right) and torch.equal(x.grad, y.grad)
        assert read == (2 * N if seed == 2 else N)  # the second dictionary reads out its own features only


def test_a_shared_teacher_too_large_to_keep_gives_the_same():
    head, original, spliced = readout_of(), features_of(1), features_of(2)
    kept, not_kept = (Teacher(head, original, shared=True, limit=limit) for limit in (N * V, N * V - 1))
    assert kept._kept is not None and not_kept._kept is None
    for _ in range(2):
        assert torch.equal(mean_kl(kept, spliced), mean_kl(not_kept, spliced))


def test_equal_features_have_no_divergence_and_no_gradient():
    head, spliced = readout_of(), features_of(1).requires_grad_()
    for reverse in (False, True):
        spliced.grad = None
        kl = mean_kl(Teacher(head, features_of(1)), spliced, reverse=reverse)
        kl.backward()
        assert float(kl.detach()) == pytest.approx(0, abs=1e-12) and float(spliced.grad.abs().max()) < 1e-12


def test_directions_differ_and_exchange_with_their_arguments():
    head, a, b = readout_of(), features_of(1), features_of(2)
    forward = mean_kl(Teacher(head, a), b)
    assert_close(forward, mean_kl(Teacher(head, b), a, reverse=True))
    assert abs(float(forward - mean_kl(Teacher(head, a), b, reverse=True))) > 0.1


def test_logits_as_features_are_read_by_the_identity(chunk):
    original, spliced = features_of(1, d=V), features_of(2, d=V).requires_grad_()
    plain = spliced.detach().clone().requires_grad_()
    found, wanted = mean_kl(Teacher(nn.Identity(), original), spliced), plain_kl(original, plain).mean()
    found.backward()
    wanted.backward()
    assert_close(found, wanted.to(found.dtype), atol=1e-6, rtol=1e-6)
    assert_close(spliced.grad, plain.grad)


def test_without_gradients_the_value_is_the_same():
    head, original, spliced = readout_of(), features_of(1), features_of(2)
    with torch.no_grad():
        alone = mean_kl(Teacher(head, original), spliced)
    assert torch.equal(alone, mean_kl(Teacher(head, original), spliced.clone().requires_grad_()).detach())


def test_half_precision_is_measured_in_float32():
    head, original, spliced = readout_of(torch.bfloat16), features_of(1, torch.bfloat16), features_of(2, torch.bfloat16)
    found = mean_kl(Teacher(head, original), spliced.requires_grad_())
    found.backward()
    assert found.dtype == torch.float32 and spliced.grad.dtype == torch.bfloat16
    assert_close(found.detach(), plain_kl(head(original), head(spliced.detach())).mean(), atol=1e-6, rtol=1e-6)


CLASSES = divergence.MANY_CLASSES + 13


@pytest.fixture
def wide():
    """Two sets of features and a read-out with enough classes for the compiled rows, float32."""
    head = nn.Linear(D, CLASSES)
    nn.init.normal_(head.weight, std=2, generator=torch.Generator().manual_seed(0))
    return head.requires_grad_(False), features_of(1, torch.float32), features_of(2, torch.float32)


def without_compiled(monkeypatch):
    monkeypatch.setattr(divergence, "_compiled_rows", lambda: None)


@DIRECTIONS
def test_compiled_rows_equal_the_plain_form_in_float64(wide, reverse):
    head, original, spliced = wide
    exact = spliced.double().requires_grad_()
    wanted = plain_kl(head.double()(original.double()), head(exact), reverse=reverse).mean()
    head.float()
    spliced.requires_grad_()
    found = mean_kl(Teacher(head, original), spliced, reverse=reverse)
    found.backward()
    wanted.backward()
    assert divergence._compiled(head(original)) is not None
    assert float(found.detach()) == pytest.approx(float(wanted.detach()), rel=2e-6)
    assert_close(spliced.grad.double(), exact.grad, atol=2e-5 * float(exact.grad.abs().max()), rtol=0)


def test_compiled_rows_are_as_near_to_float64_as_stock_operators(wide, monkeypatch):
    head, original, spliced = wide
    logits = head(original), head(spliced)
    wanted = plain_kl(*(x.double() for x in logits))

    def error() -> float:
        kl, _ = divergence._chunk(divergence._log_softmax(logits[0]), logits[1], False, True)
        return float((kl.double() - wanted).abs().max())

    compiled = error()
    without_compiled(monkeypatch)
    assert 0 < compiled <= 4 * error()


def test_compiled_rows_leave_their_arguments_alone(wide):
    _, original, spliced = wide
    logits = [torch.nn.functional.pad(x, (0, CLASSES - D)).requires_grad_() for x in (original, spliced)]
    before = [x.detach().clone() for x in logits]
    mean_kl(Teacher(nn.Identity(), logits[0].detach()), logits[1]).backward()
    assert all(torch.equal(x, y) for x, y in zip(logits, before, strict=True))


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_compiled_rows_do_not_hide_what_is_not_finite(wide, bad):
    head, original, spliced = wide
    spliced[3, 2] = bad
    kl, slope = divergence._chunk(divergence._log_softmax(head(original)), head(spliced), False, True)
    assert kl.isnan()[3] and slope[3].isnan().all()
    assert kl.isfinite().sum() == N - 1


def test_compiled_rows_reach_from_the_smallest_to_the_largest_logit():
    original = torch.zeros(1, CLASSES)
    original[0, :3] = torch.tensor([1e4, 0.0, -1e4])
    spliced = (-original).requires_grad_()
    kl = mean_kl(Teacher(nn.Identity(), original), spliced)
    kl.backward()
    assert float(kl.detach()) == pytest.approx(2e4) and spliced.grad.isfinite().all()
    assert spliced.grad[0, 0] == -1 and spliced.grad[0, 2] == 1


def test_far_apart_logits_stay_finite():
    original = torch.tensor([[1e4, 0.0, -1e4], [0.0, 0.0, 0.0]])
    spliced = (-original).requires_grad_()
    for reverse in (False, True):
        spliced.grad = None
        kl = mean_kl(Teacher(nn.Identity(), original), spliced, reverse=reverse)
        kl.backward()
        assert float(kl.detach()) == pytest.approx(1e4) and spliced.grad.isfinite().all()
