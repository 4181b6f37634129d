"""The encoder for signals over time, and when it is the default."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmlib.data.own import from_arrays
from mmlib.encoders import LONG, SequenceEncoder, TemporalEncoder, default_encoder
from mmlib.keep import KNOWN, load_trained, save
from mmlib.model import build
from mmlib.train import fit


@pytest.mark.parametrize("length", [1, 2, 7, 16, 40, 41])
@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_it_is_a_stack_of_strided_convolutions(length: int, kernel: int) -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(3, dim=8, widths=(4, 6), kernel=kernel)
    x = torch.randn(5, length, 3)
    y = x.transpose(1, 2)
    for filters in encoder.filters:
        assert isinstance(filters, nn.Linear)
        weight = filters.weight.unflatten(1, (kernel, -1)).transpose(1, 2)  # [out, in, kernel]
        y = torch.relu(F.conv1d(y, weight, filters.bias, stride=2, padding=kernel // 2))
    expected = torch.relu(encoder.out(torch.cat([y.mean(2), y.amax(2)], 1)))
    torch.testing.assert_close(encoder(x), expected)
    assert expected.shape == (5, encoder.dim)


def test_it_sees_29_steps() -> None:
    torch.manual_seed(0)
    encoder = TemporalEncoder(1)
    x = torch.zeros(1, 200, 1, requires_grad=True)
    steps = x
    for filters in encoder.filters:  # as in forward, up to the pooling
        padded = F.pad(steps, (0, 0, 2, 2))
        steps = filters(torch.cat([padded[:, i : i + 2 * ((steps.shape[1] + 1) // 2) - 1 : 2] for i in range(5)], dim=2))
    steps[0, 12].sum().backward()
    assert x.grad is not None
    assert int((x.grad != 0).sum()) == 29


def test_it_learns_a_rhythm() -> None:
    """Slow or fast, at any phase: what neither the mean nor single values tell."""
    torch.manual_seed(0)
    label = torch.arange(256) % 2
    phase, t = 6.3 * torch.rand(256, 1), torch.arange(40.0)
    x = torch.sin(phase + t * torch.where(label == 0, 0.4, 0.9)[:, None]).unsqueeze(2) + 0.3 * torch.randn(256, 40, 1)
    model = nn.Sequential(TemporalEncoder(1, dim=16), nn.Linear(16, 2))
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x[:192]), label[:192]).backward()
        optimizer.step()
    assert float((model(x[192:]).argmax(1) == label[192:]).float().mean()) > 0.95


@pytest.mark.parametrize(("length", "kind"), [(LONG, TemporalEncoder), (LONG - 1, SequenceEncoder)])
def test_long_sequences_of_floats_get_it(length: int, kind: type[nn.Module]) -> None:
    encoder = default_encoder(torch.randn(3, length, 6), dim=10)
    assert isinstance(encoder, kind)
    assert encoder(torch.randn(3, length, 6)).shape == (3, 10)


def test_text_never_does() -> None:
    assert isinstance(default_encoder(torch.randint(0, 30, (3, 500))), SequenceEncoder)


def test_options() -> None:
    assert TemporalEncoder(3, dim=8).options() == {"channels": 3, "dim": 8, "widths": (16, 32, 64), "kernel": 5, "dropout": 0.0}
    small, large = (sum(p.numel() for p in default_encoder(torch.randn(2, 40, 3), width=w).parameters()) for w in (0.5, 2))
    assert small < large
    assert KNOWN["TemporalEncoder"] is TemporalEncoder  # kept models make it again
    encoder = TemporalEncoder(3, dropout=0.9)
    assert not torch.equal(encoder(torch.ones(1, 40, 3)), encoder(torch.ones(1, 40, 3)))


def test_a_kept_model_makes_it_again(tmp_path: Path) -> None:
    torch.manual_seed(0)
    splits = from_arrays({"wrist": torch.randn(40, LONG, 3)}, torch.arange(40) % 2, layout={"wrist": "NLD"}, seed=0)
    model = build(splits, dim=4, width=0.25)
    fit(model, splits, epochs=1, progress=False)
    again = load_trained(save(tmp_path / "model", model))
    assert isinstance(again.encoders["wrist"], TemporalEncoder)
    assert torch.equal(again(splits.test.inputs).logits, model(splits.test.inputs).logits)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"channels": 0}, "channels: expected 1 or more, found 0"),
        ({"channels": 3, "dim": 0}, "dim: expected 1 or more"),
        ({"channels": 3, "widths": (8, 0)}, r"widths\[1\]: expected 1 or more"),
        ({"channels": 3, "widths": ()}, "expected widths and an odd kernel, found widths"),
        ({"channels": 3, "kernel": 4}, "an odd kernel, found .* kernel 4"),
    ],
)
def test_errors(options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TemporalEncoder(**options)
