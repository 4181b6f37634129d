"""The study of chapter 10: its rotations and its settings."""

from __future__ import annotations

import pytest

from mmlib.book.studies import real_voices as study
from mmlib.comparison import Comparison
from mmlib.setting import Setting


def outcome(seeds: list[int]) -> Comparison:
    runs = [{"label": "joint", "seed": s, "test_accuracy": s / 100, "history": []} for s in seeds]
    return Comparison([Setting("joint")], seeds, runs)


def test_one_mean_per_rotation() -> None:
    assert study.by_rotation(outcome(list(range(12))), "joint") == pytest.approx([(r + r + 6) / 200 for r in range(6)])
    shifted = study.by_rotation(outcome(list(range(100, 112))), "joint")  # 102 is the first of rotation 0
    assert shifted[0] == pytest.approx((1.02 + 1.08) / 2)


def test_seeds_go_round() -> None:
    assert study.SEEDS == study.ROTATIONS * study.ROUNDS
    assert study.ROUNDS >= 3


def test_settings() -> None:
    baselines, everything = study.baselines(), study.real_voices()
    assert [s for s in everything if s in baselines] == baselines
    assert {s.label for s in baselines} >= set(study.BASELINES)
    for s in everything:
        assert s.data_options.get("speakers") == ("shared" if s.label.endswith(study.SHARED_VOICES) else None)
        assert s.fit_options == study.REAL.fit_options  # nobody gets a larger budget
