"""`two_speed`: one modality that is learned quickly, one that is learned slowly.

Two classes, s = -1 or +1. With unit vectors u and orthogonal v, w drawn from the seed:

    fast = fast_gain * (s u + fast_noise n)                 n ~ N(0, I)
    slow = slow_gain * (a v + s a w + slow_noise n')        a = -1 or +1, tossed like a coin

`fast` is linear: one class on each side of a plane. But the clouds overlap, so that even the best rule is right in only
Phi(1 / fast_noise) of the cases, and in many dimensions a network can learn the overlap by heart. `slow` tells nothing
along any straight line: only the sign of the product of two coordinates gives the class (an XOR), almost without error.
`slow` is also quiet (``slow_gain`` below ``fast_gain``), which makes its gradients small. So `fast` drives the loss
down first, and what is left of the gradient is too little to learn `slow`. With ``slow_gain=1`` it is not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mmlib.data.checks import check_between, check_modalities, check_seed
from mmlib.data.core import MultimodalData, Splits

MODALITIES = ("fast", "slow")
VAL_SAMPLES, TEST_SAMPLES = 500, 2_000


def make(
    modalities: Sequence[str] | None = None,
    seed: int = 0,
    *,
    samples: int = 1_000,
    fast_noise: float = 1.0,
    slow_noise: float = 0.35,
    fast_gain: float = 2.0,
    slow_gain: float = 0.1,
    fast_dims: int = 64,
    slow_dims: int = 4,
) -> Splits:
    """Generate `two_speed`.

    Args:
        modalities: which of ``fast`` and ``slow``, in which order; by default both.
        seed: of everything that is drawn. The test and validation splits do not depend on ``samples``.
        samples: of the training split, 2 or more. Fewer are learned by heart more easily.
        fast_noise: standard deviation of fast's noise in every dimension, before the gain; the class means are 2 apart.
        slow_noise: the same for slow, whose four clusters stand at the corners of a square of side 2.
        fast_gain: what fast is multiplied by, above 0.
        slow_gain: what slow is multiplied by, above 0.
        fast_dims: length of fast's vector, 1 or more.
        slow_dims: length of slow's vector, 2 or more.

    Returns:
        Splits with ``samples`` / 500 / 2,000 samples: fast [fast_dims] and slow [slow_dims], float32.

    Raises:
        TypeError, ValueError: an unknown modality or a knob out of its range.
    """
    chosen = MODALITIES if modalities is None else tuple(modalities) if not isinstance(modalities, str) else modalities
    check_modalities(chosen, MODALITIES)
    check_seed(seed)
    check_between("samples", samples, 2, 10_000_000, whole=True)
    check_between("fast_dims", fast_dims, 1, 100_000, whole=True)
    check_between("slow_dims", slow_dims, 2, 100_000, whole=True)
    for name, value in (("fast_noise", fast_noise), ("slow_noise", slow_noise)):
        check_between(name, value, 0, 1e6)
    for name, value in (("fast_gain", fast_gain), ("slow_gain", slow_gain)):
        check_between(name, value, 1e-9, 1e9)

    layout = np.random.default_rng([seed, 0])
    u = _orthonormal(layout, 1, fast_dims)[0]
    v, w = _orthonormal(layout, 2, slow_dims)

    def draw(number: int, size: int) -> MultimodalData:
        rng = np.random.default_rng([seed, number])
        labels = rng.permutation(np.arange(size) % 2)
        s, a = 2.0 * labels[:, None] - 1, rng.choice([-1.0, 1.0], size=(size, 1))  # [size, 1]
        inputs = {
            "fast": fast_gain * (s * u + fast_noise * rng.standard_normal((size, fast_dims))),
            "slow": slow_gain * (a * v + s * a * w + slow_noise * rng.standard_normal((size, slow_dims))),
        }
        return MultimodalData({m: torch.from_numpy(inputs[m]).float() for m in chosen}, torch.from_numpy(labels), 2)

    settings = {
        "seed": seed, "samples": samples, "fast_noise": fast_noise, "slow_noise": slow_noise, "fast_gain": fast_gain,
        "slow_gain": slow_gain, "fast_dims": fast_dims, "slow_dims": slow_dims,
    }  # fmt: skip
    return Splits(draw(1, samples), draw(2, VAL_SAMPLES), draw(3, TEST_SAMPLES), name="two_speed", settings=settings)


def _orthonormal(rng: np.random.Generator, count: int, dims: int) -> NDArray[np.float64]:
    """[count, dims] orthogonal unit vectors in random directions (Gram-Schmidt)."""
    vectors: list[NDArray[np.float64]] = []
    for _ in range(count):
        x = rng.standard_normal(dims)
        for other in vectors:
            x = x - (x @ other) * other
        vectors.append(x / np.linalg.norm(x))
    return np.stack(vectors)
