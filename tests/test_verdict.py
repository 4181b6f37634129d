"""The chapter "The verdict": its table, ranks, words and guide."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

import mmlib
from mmlib.book import guide, results, verdict
from mmlib.book.studies import verdict as study
from mmlib.comparison import Comparison
from mmlib.metrics import Interval, Paired
from mmlib.metrics.memory import step_memory
from mmlib.setting import Setting, run

TABLE = verdict.Table()


def test_every_row_of_every_data_set_was_run_on_ten_fresh_seeds() -> None:
    for name in study.RUN:
        stored = results.load(f"verdict_{study.key(name)}")
        assert stored.seeds == list(range(study.DATA[name].seeds))
        assert {s.label for s in stored.settings} == {
            f"{label}, {name}" for label in [*study.labels(name), *(f"{row}{study.PLAIN}" for row in study.ROWS)]
        }
        tried = results.load(f"verdict_trials_{study.key(name)}")
        assert not set(tried.seeds) & set(stored.seeds)


@pytest.mark.parametrize("name", study.RUN)
def test_balanced_accuracy_is_the_score_where_classes_are_unequal(name: str) -> None:
    stored = results.load(f"verdict_{study.key(name)}")
    column = "test_balanced_accuracy" if study.DATA[name].balanced else "test_accuracy"
    assert TABLE.values(name, "joint") == stored.values(f"joint, {name}", column)
    score = column.removeprefix("test_")
    each = [stored.values(f"joint, {name}", f"test_{score}_without_{m}") for m in study.DATA[name].modalities]
    assert TABLE.mean(name, "joint", "without") == pytest.approx(np.mean(each))


def test_balanced_marks_the_data_sets_with_unequal_classes() -> None:
    for name in ("two_speed", "emoji", "digits, two"):
        data = mmlib.load(str(study.DATA[name].base.data), seed=0, **study.DATA[name].base.data_options)
        counts = data.train.labels.bincount()
        assert study.DATA[name].balanced == bool(counts.max() > 2 * counts.min())


def test_overlap_is_the_share_of_test_to_training_where_one_pool_is_split() -> None:
    for name in ("emoji", "digits, two", "digits, three"):
        data = mmlib.load(str(study.DATA[name].base.data), seed=0, **study.DATA[name].base.data_options)
        assert study.DATA[name].overlap == pytest.approx(len(data.test) / len(data.train), abs=0.01)
    from mmlib.data.motion import TEST_PEOPLE

    people = study.DATA["motion, two"].base.data_options["train_people"]
    assert study.DATA["motion, two"].overlap == study.DATA["motion, four"].overlap == TEST_PEOPLE / people
    assert study.DATA["two_speed"].overlap == 0  # every seed draws data of its own


def test_unknown_data_set_is_named() -> None:
    with pytest.raises(KeyError, match="unknown 'letters'; known: two_speed"):
        TABLE.values("letters", "joint")


@pytest.mark.parametrize(
    ("mean", "level", "told", "word"),
    [
        (0.05, False, True, "better"),
        (-0.05, False, True, "worse"),
        (0.05, False, False, "not told"),
        (0.004, True, True, "level"),  # there, but too small to matter
        (0.004, True, False, "level"),
    ],
)
def test_words(mean: float, level: bool, told: bool, word: str) -> None:
    assert verdict._word(Paired(Interval(mean, mean - 0.01, mean + 0.01), 0.01, level), told) == word


def test_all_differences_are_corrected_together() -> None:
    """Benjamini and Hochberg by hand over the whole table; it takes away some of what single tests would have told."""
    against = TABLE.against()
    assert len(against) == len(study.RUN) * (len(verdict.REFERENCES) * len(study.ROWS) - len(verdict.REFERENCES))
    ordered = sorted(pair.p for pair, _ in against.values())
    below = [p for rank, p in enumerate(ordered, start=1) if p <= 0.05 * rank / len(ordered)]
    for pair, word in against.values():
        told = pair.p <= max(below, default=-1.0)
        by_sign = "better" if pair.difference.mean > 0 else "worse"
        assert word == ("level" if pair.level else by_sign if told else "not told")
    assert len(below) < sum(p <= 0.05 for p in ordered)


def test_other_samples_widen_the_interval_by_the_overlap() -> None:
    for name in study.RUN:
        plain, wide = (TABLE.paired(name, "MLA", "joint", corrected=c).difference for c in (False, True))
        times = np.sqrt(1 + study.DATA[name].seeds * study.DATA[name].overlap)
        assert wide.mean == plain.mean
        assert wide.high - wide.mean == pytest.approx(times * (plain.high - plain.mean))


def test_ranks_by_hand() -> None:
    """Two data sets, three rows; equals share a rank. The critical difference is Demsar's q = 2.343 for three rows."""
    found = verdict.ranks(np.array([[0.9, 0.8, 0.7], [0.5, 0.5, 0.1]]), ["a", "b", "c"])
    assert found.mean == {"a": 1.25, "b": 1.75, "c": 3.0}
    assert found.critical == pytest.approx(2.343 * np.sqrt(3 * 4 / (6 * 2)), rel=1e-3)
    assert 0 < found.p < 1
    more = verdict.ranks(np.tile([0.9, 0.8, 0.7], (20, 1)), ["a", "b", "c"])
    assert more.critical < found.critical
    assert more.p < 1e-6
    with pytest.raises(ValueError, match="2 data sets or more"):
        verdict.ranks(np.array([[0.9, 0.8, 0.7]]), ["a", "b", "c"])


SCORES = {
    "plain": {"a": 0.9, "b": 0.9, "c": 0.5, "d": 0.5},
    "odd": {"a": 0.5, "b": 0.5, "c": 0.8, "d": 0.8},
    "middle": {"a": 0.7, "b": 0.7, "c": 0.7, "d": 0.7},
}
ASKED: dict[str, Callable[[str], bool]] = {"useless?": lambda n: True, "late?": lambda n: n in "cd"}


def test_guide_asks_what_helps_and_nothing_else() -> None:
    made = guide.make(SCORES, ASKED, "abcd")
    assert made == guide.Guide("late?", "odd", "plain")
    assert [made.follow(n, ASKED) for n in "abcd"] == ["plain", "plain", "odd", "odd"]
    assert guide.make(SCORES, ASKED, "ab") == guide.Guide(None, "plain", "plain")  # the question has one answer there
    assert guide.make(SCORES, {}, "abcd").question is None
    with pytest.raises(ValueError, match="a data set and a row"):
        guide.make(SCORES, ASKED, [])


def test_left_out_data_has_no_part_in_the_guide() -> None:
    """Whatever is true of the data set that is left out, the guide of the others stays the same."""
    tested = guide.leave_one_out(SCORES, ASKED, "abc")
    changed = {row: {**of, "c": 1 - of["c"]} for row, of in SCORES.items()}
    again = guide.leave_one_out(changed, ASKED, "abc")
    assert tested["c"][:2] == again["c"][:2] == (guide.Guide(None, "plain", "plain"), "plain")
    assert tested["c"][2] == pytest.approx(0.3)  # what it lost there against "odd", which it had never seen to be good
    assert again["c"][2] == pytest.approx(0.0)
    with pytest.raises(ValueError, match="two sources"):
        guide.leave_one_out(SCORES, ASKED, "a")


def test_what_comes_from_one_source_is_left_out_together() -> None:
    kin = {"a": "one", "b": "two", "c": "three", "d": "three"}
    apart = guide.leave_one_out(SCORES, ASKED, "abcd")
    together = guide.leave_one_out(SCORES, ASKED, "abcd", kin)
    assert apart["c"][1] == "odd"  # d, its kin, had told
    assert together["c"][0] == together["d"][0] == guide.Guide(None, "plain", "plain")
    with pytest.raises(ValueError, match="two sources"):
        guide.leave_one_out(SCORES, ASKED, "cd", kin)


def test_loss_is_the_distance_from_the_best_row() -> None:
    assert guide.losses(SCORES, "a") == pytest.approx({"plain": 0.0, "odd": 0.4, "middle": 0.2})
    assert guide.mean_loss(SCORES, "ac", {"a": "middle", "c": "odd"}) == pytest.approx(0.1)


def test_questions_are_answered_by_validation_data_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers stay the same where no other column of the trials holds a number."""
    told = {question: [answer(n) for n in study.RUN] for question, answer in verdict.questions(study.RUN).items()}
    load, kept = results.load, ("label", "seed", "val_accuracy", "diverged", "seconds", "history")

    def blind(name: str) -> Comparison:
        found = load(name)
        return replace(found, runs=[{k: v if k in kept else float("nan") for k, v in run.items()} for run in found.runs])

    monkeypatch.setattr(verdict.results, "load", blind)
    again = {question: [answer(n) for n in study.RUN] for question, answer in verdict.questions(study.RUN).items()}
    assert again == told
    assert told["Are there more than two modalities?"] == [len(study.DATA[n].modalities) > 2 for n in study.RUN]
    assert True in told["Does joint training gain by features on one scale?"]


SMALL = Setting("", "two_speed", data_options={"samples": 64}, fit_options={"epochs": 1, "batch_size": 16})


def test_memory_of_a_step() -> None:
    """Weights, and Adam's two numbers for each; a larger batch takes more of a step and nothing between steps."""
    small, large = (run(SMALL.with_("", fit_options={"batch_size": size}, measures=(step_memory,)), 0) for size in (16, 32))
    model = mmlib.build(mmlib.load("two_speed", seed=0), seed=0)
    weights = sum(p.nbytes for p in model.parameters())
    assert 3 * weights <= small["held_bytes"] <= 3.1 * weights
    assert small["held_bytes"] == large["held_bytes"]
    assert large["step_bytes"] > small["step_bytes"] > weights  # the gradients at least
    again = run(SMALL.with_("", measures=(step_memory,)), 0)
    assert again["step_bytes"] == pytest.approx(small["step_bytes"], rel=0.02)


def test_memory_of_a_run_that_diverged_and_of_no_run() -> None:
    splits = mmlib.load("two_speed", seed=0, samples=64)
    assert step_memory(None, mmlib.methods.Joint(), splits) == {"held_bytes": 0.0, "step_bytes": 0.0}
    with pytest.raises(ValueError, match="without a recipe"):
        step_memory(mmlib.build(splits, seed=0), mmlib.methods.Joint(), splits)
