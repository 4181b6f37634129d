"""Encoders and the model."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from mmlib.encoders import ConvEncoder, MLPEncoder, SequenceEncoder, default_encoder
from mmlib.fusion import Concat, Sum
from mmlib.model import MultimodalClassifier, build
from tests.conftest import make_tiny


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        (torch.randn(3, 6), MLPEncoder),
        (torch.randn(3, 1, 8, 8), ConvEncoder),
        (torch.randn(3, 3, 40, 61), ConvEncoder),
        (torch.randn(3, 9, 5), SequenceEncoder),
        (torch.randint(0, 30, (3, 12)), SequenceEncoder),
        (torch.randint(0, 500, (3, 12)), SequenceEncoder),
    ],
)
def test_default_encoder_fits_the_shape(example: torch.Tensor, kind: type[nn.Module]) -> None:
    encoder = default_encoder(example, dim=10)
    assert isinstance(encoder, kind)
    assert encoder(example).shape == (3, 10)
    assert encoder.dim == 10


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": -3}, "width: expected a number above 0, found -3"),
        ({"width": True}, "width: expected a number above 0, found True"),
        ({"dropout": 1.0}, "dropout: expected a share from 0 to below 1, found 1.0"),
        ({"dim": 0}, "dim: expected 1 or more, found 0"),
    ],
)
@pytest.mark.parametrize("own", [False, True], ids=["default", "own"])
def test_options_out_of_range_are_refused_also_where_every_encoder_is_ones_own(
    options: dict[str, Any], message: str, own: bool
) -> None:
    splits = make_tiny(("a", "b"))
    encoders = {m: (lambda: MLPEncoder(6)) for m in splits.modalities} if own else None
    with pytest.raises(ValueError, match=message):
        build(splits, encoders=encoders, **options)


def test_width_sets_the_number_of_parameters() -> None:
    count = [sum(p.numel() for p in default_encoder(torch.randn(2, 1, 8, 8), width=w).parameters()) for w in (0.5, 1, 2)]
    assert count[0] < count[1] < count[2]


def test_padding_does_not_decide() -> None:
    """A word padded further has the same features: padding embeds to zero and the maximum is taken over letters too."""
    encoder = SequenceEncoder(vocabulary=30, dim=8)
    word = torch.tensor([[3, 4, 5, 0, 0, 0]])
    torch.testing.assert_close(encoder(word), encoder(torch.cat([word, torch.zeros(1, 5, dtype=torch.long)], 1)))


def test_encoder_errors() -> None:
    with pytest.raises(ValueError, match="either vocabulary"):
        SequenceEncoder()
    with pytest.raises(ValueError, match="dim: expected 1 or more, found 0"):
        MLPEncoder(4, dim=0)
    with pytest.raises(ValueError, match="channels: expected 1 or more, found 0"):
        ConvEncoder(0)
    with pytest.raises(ValueError, match="no small encoder for samples of shape"):
        default_encoder(torch.randn(2, 1, 2, 2, 2, 2))


def test_model_output() -> None:
    splits = make_tiny(("a", "b"))
    output = build(splits)(splits.test.inputs)
    n = len(splits.test)
    assert output.logits.shape == (n, 3)
    assert output.features["a"].shape == (n, 64)
    assert set(output.unimodal) == {"a", "b"}


def test_a_modality_that_is_not_passed_is_absent_everywhere() -> None:
    splits = make_tiny(("a", "b"))
    for fusion in (Concat, Sum):
        model = build(splits, fusion)
        x = splits.test.inputs
        nowhere = {"a": torch.ones(len(splits.test), dtype=torch.bool), "b": torch.zeros(len(splits.test), dtype=torch.bool)}
        torch.testing.assert_close(model({"a": x["a"]}).logits, model(x, nowhere).logits)


def test_start_depends_on_seed_and_modality_alone() -> None:
    """An encoder starts from the same weights, whichever other modalities there are and in whatever order."""
    three, one = build(make_tiny(("a", "b", "c")), seed=3), build(make_tiny(("c",)), seed=3)
    for p, q in zip(three.encoders["c"].parameters(), one.encoders["c"].parameters(), strict=True):
        assert torch.equal(p, q)
    other = build(make_tiny(("c",)), seed=4)
    assert not torch.equal(next(one.encoders["c"].parameters()), next(other.encoders["c"].parameters()))


def test_global_generator_is_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    build(make_tiny(("a",)), seed=3)
    assert torch.equal(torch.rand(1), expected)


def test_own_encoder() -> None:
    splits = make_tiny(("a", "b"))
    plain = nn.Linear(6, 5)
    with pytest.raises(ValueError, match=r"encoders\['a'\]: Linear has no attribute dim"):
        build(splits, encoders={"a": plain})
    model = MultimodalClassifier({"a": plain}, Concat, 3, dims={"a": 5})
    assert model({"a": splits.test.inputs["a"]}).logits.shape == (len(splits.test), 3)


def test_model_errors() -> None:
    splits = make_tiny(("a", "b"))
    with pytest.raises(ValueError, match="fusion: unknown 'sun'; known: concat, sum"):
        build(splits, "sun")
    with pytest.raises(ValueError, match="encoders: unknown modality 'x'; the data has a, b"):
        build(splits, encoders={"x": nn.Linear(1, 1)})
    with pytest.raises(ValueError, match="expected modalities among a, b, found x"):
        build(splits)({"x": torch.zeros(2, 6)})
    with pytest.raises(ValueError, match="found none"):
        build(splits)({})
