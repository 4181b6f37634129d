"""Which encoder is chosen and why, and options that are refused before anything is trained."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from mmlib.encoders import ConvEncoder, MLPEncoder, SequenceEncoder, default_encoder, reading
from mmlib.model import build
from tests.conftest import make_tiny


@pytest.mark.parametrize(
    ("example", "said"),
    [
        (torch.zeros(3, 6), "a vector of 6 numbers (two axes, [N, D]): MLPEncoder"),
        (torch.zeros(3, 9, 5), "a sequence of 9 steps of 5 numbers (three axes, [N, L, D]): SequenceEncoder"),
        (torch.zeros(3, 1, 8, 9), "a picture of 8 x 9 with 1 channels (four axes, [N, C, H, W]): ConvEncoder"),
        (torch.zeros(3, 2, 1, 8, 9), "a clip of 2 frames, 8 x 9, 1 channels (five axes, [N, T, C, H, W]): FrameEncoder"),
        (torch.zeros(3, 12, dtype=torch.int64), "12 token ids, 0 for nothing (whole numbers, [N, L]): SequenceEncoder"),
    ],
)
def test_what_is_said_is_what_is_chosen(example: torch.Tensor, said: str) -> None:
    assert reading(example) == said
    assert type(default_encoder(example)).__name__ == said.rpartition(": ")[2]


@pytest.mark.parametrize(
    "example",
    [torch.zeros(3, 6, dtype=torch.uint8), torch.zeros(3, 6, dtype=torch.bool), torch.zeros(3, 6, 2, dtype=torch.int64)],
)
def test_whole_numbers_that_are_no_tokens_are_refused(example: torch.Tensor) -> None:
    with pytest.raises(TypeError, match=r"no small encoder for samples .*int64 \[N, L\] for token ids"):
        default_encoder(example)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"dropout": 1.0}, ValueError, "dropout: expected a share from 0 to below 1, found 1.0"),
        ({"dropout": -0.1}, ValueError, "dropout"),
        ({"dropout": float("nan")}, ValueError, "dropout"),
        ({"dropout": "0.1"}, TypeError, "dropout: expected a number, found '0.1'"),
        ({"width": -3}, ValueError, "width: expected a number above 0, found -3"),
        ({"width": 0}, ValueError, "width"),
        ({"width": float("nan")}, ValueError, "width"),
        ({"width": float("inf")}, ValueError, "width"),
        ({"dim": 0}, ValueError, "dim: expected 1 or more, found 0"),
        ({"dim": 2.5}, TypeError, "dim: expected a whole number, found 2.5"),
    ],
)
def test_build_refuses_options_out_of_range(options: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        build(make_tiny(("a",)), **options)


@pytest.mark.parametrize("make", [lambda **o: MLPEncoder(3, **o), lambda **o: SequenceEncoder(in_dim=3, **o), ConvEncoder])
def test_encoders_refuse_to_drop_everything(make: Any) -> None:
    with pytest.raises(ValueError, match=r"dropout: expected a share from 0 to below 1, found 1\.0"):
        make(dropout=1.0)
    with pytest.raises(ValueError, match="dim: expected 1 or more, found -3"):
        make(dim=-3)


def test_an_unknown_token_is_named() -> None:
    encoder = SequenceEncoder(vocabulary=10)
    with pytest.raises(ValueError, match="token ids: expected ids from 0 to 9, found 3 to 400"):
        encoder(torch.tensor([[3, 400]]))
    with pytest.raises(ValueError, match="token ids: expected 0 or more, found -1"):
        default_encoder(torch.tensor([[3, -1]]))
