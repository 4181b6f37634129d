"""One encoder per modality, one fusion, one classifier."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from mmlib.data.by_modality import ByModality
from mmlib.data.core import Splits
from mmlib.data.prepare import ClassName, Prepare
from mmlib.encoders import check_sizes, encoder_for, feature_sizes
from mmlib.fusion import FUSIONS, Concat, Fusion
from mmlib.half import GradientScale
from mmlib.intermediate import KINDS as INTERMEDIATE
from mmlib.intermediate import MMTM, hidden_sizes, with_centre
from mmlib.normalise import KINDS, Kind, NormalisedEncoder
from mmlib.randomness import derive, seeded


@dataclass
class Output:
    """What a model says about a batch."""

    features: dict[str, Tensor]  #: modality -> [B, D_m]
    unimodal: dict[str, Tensor]  #: modality -> [B, C], logits of that modality alone
    logits: Tensor  #: [B, C], logits (or log-probabilities) of all modalities together

    def detach(self) -> Output:
        return Output(
            {m: f.detach() for m, f in self.features.items()},
            {m: u.detach() for m, u in self.unimodal.items()},
            self.logits.detach(),
        )


class MultimodalClassifier(nn.Module):
    """Encoders, then a fusion: ``model(inputs, present=None) -> Output``.

    Args:
        encoders: modality -> module that maps [B, ...] to [B, D]. Its attribute ``dim`` gives D.
        fusion: a `Fusion` class, or any callable that takes ({m: D_m}, num_classes) and returns one.
        num_classes: C.
        dims: modality -> D, for encoders without an attribute ``dim``.
        exchange: what the encoders exchange between their layers (`mmlib.intermediate.MMTM`); by default nothing.

    Raises:
        ValueError: no encoder, or an encoder of unknown feature size.
    """

    #: forward in this type under autocast (set by `mmlib.train.fit`); the outputs are float32 all the same
    autocast: torch.dtype | None = None
    #: how raw arrays become inputs, and the names of the classes (set by `build`, and by ``fit``)
    prepare: dict[str, Prepare]
    classes: tuple[ClassName, ...]

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        fusion: Callable[[Mapping[str, int], int], Fusion] = Concat,
        num_classes: int = 2,
        dims: Mapping[str, int] | None = None,
        exchange: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not encoders:
            raise ValueError("encoders: expected at least one modality")
        sizes = feature_sizes(encoders, dims)
        self.encoders = ByModality(encoders)
        self.fusion = fusion(sizes, num_classes)
        self.exchange = exchange
        self.prepare, self.classes = {}, tuple(range(num_classes))

    @property
    def method(self) -> Any:
        """The method that trained this model, with the heads it predicts by; None before `mmlib.train.fit`."""
        return self.__dict__.get("_method")

    def trained_by(self, method: nn.Module | None) -> None:
        """Bind ``method``: what was trained and how it predicts belong together."""
        self.__dict__["_method"] = method  # past torch, which would take the method's parameters for the model's own

    @property
    def gradient_scale(self) -> GradientScale | None:
        """Of training in float16 (set by `mmlib.train.fit`, while it lasts)."""
        return self.__dict__.get("_gradient_scale")

    def scale_gradients(self, by: GradientScale | None) -> None:
        if (before := self.gradient_scale) is not None:
            before.release()
        self.__dict__["_gradient_scale"] = by  # past torch: no part of the model's weights

    @property
    def compiled(self) -> bool:
        """Whether `torch.compile` has been asked to translate it, or an encoder of it."""
        return any(part._compiled_call_impl is not None for part in (self, *self.encoders.values()))

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.fusion.modalities

    @property
    def dims(self) -> dict[str, int]:
        return self.fusion.dims

    @property
    def num_classes(self) -> int:
        return self.fusion.num_classes

    @property
    def device(self) -> torch.device:
        return next(self.parameters()).device

    def encode(self, inputs: Mapping[str, Tensor], there: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
        """inputs {m: [B, ...]} -> features {m: [B, D_m]}; zeros for a modality that is not in ``inputs`` at all.

        Args:
            there: masks {m: [B, 1]} of all modalities, which encoders that interact need.
        """
        unknown = [m for m in inputs if m not in self.dims]
        if unknown or not inputs:
            raise ValueError(f"inputs: expected modalities among {', '.join(self.dims)}, found {', '.join(unknown) or 'none'}")
        if self.exchange is not None and there is None:
            raise ValueError(
                f"model: its encoders interact ({type(self.exchange).__name__}), and what was asked for needs the features of "
                "each modality apart from the others"
            )
        first = next(iter(inputs.values()))
        kind = self.autocast or torch.float32
        with torch.autocast(first.device.type, dtype=kind, enabled=self.autocast is not None):
            made = {} if self.exchange is None else self.exchange(self.encoders, inputs, there)
            features = {
                m: made[m].float() if m in made
                else self.encoders[m](inputs[m]).float() if m in inputs else torch.zeros(len(first), d, device=first.device)
                for m, d in self.dims.items()
            }  # fmt: skip
        if (scale := self.gradient_scale) is not None and torch.is_grad_enabled():
            scale.watch([*self.encoders.parameters(), *(() if self.exchange is None else self.exchange.parameters())])
            features = {m: scale.features(f) for m, f in features.items()}
        return features

    def forward(self, inputs: Mapping[str, Tensor], present: Mapping[str, Tensor] | None = None) -> Output:
        """inputs {m: [B, ...]}, present {m: [B]} booleans. Absent modalities contribute no features."""
        if inputs and len(inputs) < len(self.dims):  # a modality that was not passed at all is absent in every sample
            size, device = len(next(iter(inputs.values()))), self.device
            there = {m: torch.full((size,), m in inputs, device=device) for m in self.dims}
            present = there if present is None else {**there, **{m: present[m] for m in inputs if m in present}}
        masks = None
        if inputs and self.exchange is not None:
            everybody = next(iter(inputs.values())).new_ones(len(next(iter(inputs.values()))), 1, dtype=torch.float32)
            masks = {m: present[m][:, None].float() if present and m in present else everybody for m in self.dims}
        features = self.encode(inputs, masks)
        logits, unimodal = self.fusion(features, present)  # in float32: heads are small, and their losses sensitive
        return Output(features, unimodal, logits)


def build(
    splits: Splits,
    fusion: str | Callable[[Mapping[str, int], int], Fusion] = "concat",
    *,
    encoders: Mapping[str, nn.Module | Callable[[], nn.Module]] | None = None,
    dims: Mapping[str, int] | None = None,
    normalise: Kind | None = None,
    intermediate: Literal["mmtm", "centralnet"] | None = None,
    dim: int = 64,
    width: float = 1.0,
    dropout: float = 0.0,
    seed: int = 0,
) -> MultimodalClassifier:
    """A model that fits ``splits``, initialised by ``seed`` (the global generator is left as it was).

    Args:
        fusion: a name (concat, sum, cosine, film, gated, squeeze_excitation, non_local) or a fusion class.
        encoders: where the default encoders (`mmlib.encoders.default_encoder`) will not do: modality -> a function or
            class without arguments that makes one, called under the seed; or a module, which is used as it is, with
            the weights it has.
        dims: modality -> size of the features, for own encoders without an attribute ``dim``.
        normalise: bring the features of every modality to one scale, "batch", "layer", "l2", "rms" or "centre"
            (`mmlib.normalise.NormalisedEncoder`); by default they are left as they are.
        intermediate: let modalities meet between the layers of their encoders, before the fusion: "mmtm", or "centralnet",
            which is its own fusion (`mmlib.intermediate`).
        dim, width, dropout: of the default encoders.

    Raises:
        ValueError: an unknown fusion, normalisation or modality (the message lists the known ones), or a shape without a
            default encoder. TypeError: something that is no encoder and makes none.
    """
    if isinstance(fusion, str):
        if fusion not in FUSIONS:
            raise ValueError(f"fusion: unknown {fusion!r}; known: {', '.join(FUSIONS)}")
        fusion = FUSIONS[fusion]
    if normalise is not None and normalise not in KINDS:
        raise ValueError(f"normalise: unknown {normalise!r}; known: {', '.join(KINDS)}")
    if intermediate is not None and intermediate not in INTERMEDIATE:
        raise ValueError(f"intermediate: unknown {intermediate!r}; known: {', '.join(INTERMEDIATE)}")
    if intermediate == "centralnet" and fusion is not Concat:
        raise ValueError("intermediate: centralnet is a fusion of its own; leave fusion as it is")
    for what, given in (("encoders", encoders), ("dims", dims)):
        unknown = [m for m in given or {} if m not in splits.modalities]
        if unknown:
            raise ValueError(f"{what}: unknown modality {unknown[0]!r}; the data has {', '.join(splits.modalities)}")
    check_sizes(dim, width, dropout)  # also where no default encoder is made
    made: dict[str, nn.Module] = {}
    for m, example in splits.train.example.items():
        with seeded(derive(seed, "encoder", m)):  # the same start whichever other modalities there are
            known = max(128, splits.prepare[m].vocabulary)
            made[m] = encoder_for(m, (encoders or {}).get(m), example, dim, width, dropout, known)
    sizes = feature_sizes(made, dims)
    if normalise is not None:
        made = {m: NormalisedEncoder(encoder, sizes[m], normalise) for m, encoder in made.items()}
    exchange: nn.Module | None = None
    if intermediate is not None:
        with seeded(derive(seed, "intermediate")):
            hidden = hidden_sizes(made, splits.train.example)
            if intermediate == "mmtm":
                exchange = MMTM(hidden)
            else:
                made, fusion = with_centre(made, hidden, sizes)
                sizes = feature_sizes(made)
    with seeded(derive(seed, "fusion")):
        model = MultimodalClassifier(made, fusion, splits.num_classes, sizes, exchange)
    model.prepare, model.classes = dict(splits.prepare), splits.classes
    return model
