"""`cremad`, on a small folder made in the layout and formats of the public repository."""

from __future__ import annotations

import csv
import itertools
import shutil
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import mmlib
from mmlib.compare import compare
from mmlib.data import MultimodalData, StreamedData, cremad
from mmlib.data import cremad_clips as clips
from mmlib.data import cremad_files as files
from mmlib.methods import METHODS
from mmlib.setting import Setting
from tests import cremad_folder

pytest.importorskip("av")
SMALL: dict[str, Any] = {"seconds": 1.0, "mels": 16, "frames": 2, "size": 32, "progress": False}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return cremad_folder.make(tmp_path_factory.mktemp("cremad") / "CREMA-D")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Path:
    """A copy to spoil."""
    return Path(shutil.copytree(folder, tmp_path / "CREMA-D"))


def load(folder: Path, cache: Path, modalities: Any = None, seed: int = 0, **knobs: Any) -> mmlib.Splits:
    return mmlib.load("cremad", modalities, seed, folder=folder, cache=cache, **{**SMALL, **knobs})


def test_the_shipped_split_keeps_actors_apart_and_women_and_men_together() -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    try:
        import make_cremad_split
    finally:
        sys.path.pop(0)
    listed = cremad.official()
    assert len(listed) == 91 * 82 == files.CLIPS + 20
    sides = {split: {files.parse(name).actor for name, s in listed.items() if s == split} for split in ("train", "val", "test")}
    assert [len(s) for s in sides.values()] == [60, 13, 18]
    assert set.union(*sides.values()) == set(files.ACTORS)
    assert len(make_cremad_split.WOMEN) == 43
    for actors in sides.values():
        assert 0.4 < len(actors & set(make_cremad_split.WOMEN)) / len(actors) < 0.55
    for split in sides:  # every emotion in the same proportion
        count = Counter(files.parse(name).emotion for name, s in listed.items() if s == split)
        assert len(set(count.values())) == 2  # neutral has no levels


def test_the_tool_writes_the_list_that_is_shipped(tmp_path: Path) -> None:
    sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
    try:
        import make_cremad_split
    finally:
        sys.path.pop(0)
    make_cremad_split.write(tmp_path / "list.csv")
    assert (tmp_path / "list.csv").read_bytes() == cremad.OFFICIAL.read_bytes()


def test_samples_are_what_the_files_hold(folder: Path, cache: Path) -> None:
    splits = load(folder, cache)
    assert [len(d) for _, d in splits.items()] == [24, 6, 6]
    assert splits.train.shapes == {"audio": (1, 16, 100), "video": (2, 3, 32, 32)}
    assert splits.classes == ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
    assert set(splits.train.groups["actor"].tolist()) == {1001, 1002, 1004, 1008}
    assert "disjoint" in repr(splits)
    whole = load(folder, cache, in_memory=True)
    assert isinstance(whole.train, MultimodalData)
    assert isinstance(splits.train, StreamedData)
    for batch, other in zip(splits.test.batches(4), whole.test.batches(4), strict=True):
        assert torch.equal(batch.labels, other.labels)
        assert all(torch.equal(batch.inputs[m], other.inputs[m]) for m in ("audio", "video"))
    audio = whole.train.inputs["audio"]
    assert audio.mean().item() == pytest.approx(0, abs=1e-3)
    assert audio.std().item() == pytest.approx(1, abs=1e-3)
    # a higher tone for a later emotion; the light square further to the right
    loudest = audio[:, 0].mean(2).argmax(1).float()
    columns = (whole.train.inputs["video"][:, 0] * torch.tensor(cremad.STD)[:, None, None])[:, 0].amax(1).argmax(1).float()
    for measured in (loudest, columns):
        means = [measured[whole.train.labels == e].mean().item() for e in range(6)]
        assert all(a <= b for a, b in itertools.pairwise(means))
        assert means[0] < means[-1]
    dark, light = (whole.train.inputs["video"][:, k].mean() for k in (0, 1))
    assert light > dark  # frames in their order


def test_votes_say_what_is_ambiguous(folder: Path, cache: Path) -> None:
    splits = load(folder, cache, ["audio"])
    told = {name: bool(a) for name, a in zip(splits.train.raw["clip"], splits.train.groups["ambiguous"].tolist(), strict=True)}
    assert [name for name, yes in told.items() if yes] == ["1001_DFA_ANG_XX"]
    at = splits.train.raw["clip"].index("1001_DFA_ANG_XX")
    assert splits.train.raw["vote_both"][at] == "F:S"
    assert splits.train.raw["vote_audio"][at] == "N"


def test_a_clip_without_votes_is_neither_clear_nor_ambiguous(own: Path, tmp_path: Path) -> None:
    table = own / files.VOTES
    lines = [line for line in table.read_text().splitlines() if "1001_DFA_DIS_XX" not in line]
    table.write_text("\n".join(lines) + "\n")
    train = load(own, tmp_path, ["audio"]).train
    assert train.groups["ambiguous"][train.raw["clip"].index("1001_DFA_DIS_XX")] == -1
    assert train.raw["vote_both"][train.raw["clip"].index("1001_DFA_DIS_XX")] == ""


def test_an_array_without_the_list_of_what_is_done_is_made_anew(folder: Path, tmp_path: Path) -> None:
    before = load(folder, tmp_path, ["audio"], in_memory=True).train.inputs["audio"]
    next(tmp_path.glob("audio_*.state.npy")).unlink()
    assert torch.equal(load(folder, tmp_path, ["audio"], in_memory=True).train.inputs["audio"], before)


def test_a_random_split_shares_its_actors_and_keeps_the_classes(folder: Path, cache: Path) -> None:
    apart, mixed, again, other = (
        load(folder, cache, ["audio"], seed, split=split)
        for seed, split in ((0, "actors"), (0, "random"), (0, "random"), (1, "random"))
    )
    assert "shared" in repr(mixed)
    for (_, a), (_, b) in zip(apart.items(), mixed.items(), strict=True):
        assert len(a) == len(b)
        assert torch.equal(a.dataset.labels.bincount(), b.dataset.labels.bincount())  # type: ignore[attr-defined]
    assert mixed.train.raw["clip"] == again.train.raw["clip"] != other.train.raw["clip"]
    every = [c for _, d in mixed.items() for c in d.raw["clip"]]
    assert len(set(every)) == len(every) == 36


def test_a_table_of_ones_own(folder: Path, cache: Path, tmp_path: Path) -> None:
    table = tmp_path / "mine.csv"
    rows = [("1001_DFA_ANG_XX", "train"), ("1001_DFA_DIS_XX", "val"), ("1002_DFA_ANG_XX", "test")]
    table.write_text("clip,split\n" + "".join(f"{c},{s}\n" for c, s in rows))
    splits = load(folder, cache, ["audio"], split=table)
    assert [d.raw["clip"] for _, d in splits.items()] == [[c] for c, _ in rows]
    for text, message in (
        (
            "clip,split\n9999_XXX_ANG_XX,train\n",
            "split: mine.csv names 1 clips that the folder has not, such as '9999_XXX_ANG_XX'",
        ),
        ("name,part\na,b\n", "split: mine.csv: expected the columns clip, split, found name, part"),
        ("clip,split\n1001_DFA_ANG_XX,holdout\n", "line 2: expected train, val or test, found 'holdout'"),
        ("clip,split\n1001_DFA_ANG_XX,train\n1001_DFA_ANG_XX,test\n", "line 3: '1001_DFA_ANG_XX' stands in two splits"),
        ("clip,split\n1001_DFA_ANG_XX,train\n", "split: no clip for 'val'"),
    ):
        table.write_text(text)
        with pytest.raises(ValueError, match=message.replace(".", r"\.")):
            load(folder, cache, ["audio"], split=table)
    with pytest.raises(FileNotFoundError, match="split: no file"):
        load(folder, cache, ["audio"], split="actor")


def test_a_folder_that_is_not_crema_d(tmp_path: Path, own: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"(?s)folder: no folder .*git lfs pull"):
        load(tmp_path / "nowhere", tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="is no copy of CREMA-D: no clips AudioWAV"):
        load(tmp_path / "empty", tmp_path)
    (own / "AudioWAV" / "1001_DFA_ANG_XX.wav").unlink()
    with pytest.raises(FileNotFoundError, match="1 of 36 clips have no audio, such as AudioWAV/1001_DFA_ANG_XX.wav"):
        load(own, tmp_path)
    assert len(load(own, tmp_path, ["video"]).train) == 24


@pytest.mark.parametrize(
    ("place", "content", "message"),
    [
        ("AudioWAV/1002_DFA_ANG_XX.wav", b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        ("VideoFlash/1002_DFA_ANG_XX.flv", b"version https://git-lfs.github.com/spec/v1\noid", "is a pointer of Git LFS"),
        ("AudioWAV/1002_DFA_ANG_XX.wav", b"RIFF", "cannot be read as sound"),
        ("VideoFlash/1002_DFA_ANG_XX.flv", b"FLV\x01", "cannot be decoded|holds no pictures"),
        ("VideoFlash/1002_DFA_ANG_XX.flv", b"", "cannot be decoded"),
    ],
)
def test_a_clip_that_cannot_be_read_is_named_and_skipped_only_when_asked(
    own: Path, tmp_path: Path, place: str, content: bytes, message: str
) -> None:
    (own / place).write_bytes(content)
    cache = tmp_path / "cache"
    with pytest.raises(clips.ClipError, match=rf"^1002_DFA_ANG_XX: .*({message})"):
        load(own, cache)
    splits = load(own, cache, skip_broken=True)
    assert len(splits.train) == 23
    assert "1002_DFA_ANG_XX" not in splits.train.raw["clip"]
    with pytest.raises(clips.ClipError, match="1002_DFA_ANG_XX"):  # also where what was decoded is whole
        load(own, cache)


def test_sound_of_another_kind_is_refused(own: Path, tmp_path: Path) -> None:
    cremad_folder.sound(own / "AudioWAV" / "1001_DFA_ANG_XX.wav", 0, 0, rate=8_000)
    with pytest.raises(clips.ClipError, match="expected 16-bit sound at 16000 samples a second, found 16 bits at 8000"):
        load(own, tmp_path, ["audio"])
    cremad_folder.sound(own / "AudioWAV" / "1001_DFA_ANG_XX.wav", 0, 0, seconds=0)
    with pytest.raises(clips.ClipError, match="1001_DFA_ANG_XX: .* holds no sound"):
        load(own, tmp_path, ["audio"])


def whole_arrays(cache: Path) -> list[Path]:
    """Those that are done: what belongs to one that is not has another ending."""
    return [path for path in cache.glob("audio_*.npy") if path.name.count(".") == 1]


def test_decoding_goes_on_where_it_was_interrupted(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "BLOCK", 8)
    read = clips.READ["audio"]
    seen: list[str] = []

    def until(stop: int) -> Any:
        def one(path: Path, how: clips.Reading) -> Any:
            seen.append(path.stem)
            if len(seen) > stop:
                raise KeyboardInterrupt
            return read(path, how)

        return one

    monkeypatch.setitem(clips.READ, "audio", until(20))
    with pytest.raises(KeyboardInterrupt):
        load(own, tmp_path, ["audio"])
    assert not whole_arrays(tmp_path)
    seen.clear()
    monkeypatch.setitem(clips.READ, "audio", until(1_000))
    splits = load(own, tmp_path, ["audio"])
    assert 36 - 20 <= len(seen) <= 36 - 2 * 8  # at most a block is lost
    monkeypatch.setitem(clips.READ, "audio", read)
    fresh = load(own, tmp_path / "other", ["audio"])
    for a, b in zip(splits.train.batches(64), fresh.train.batches(64), strict=True):
        assert torch.equal(a.inputs["audio"], b.inputs["audio"])
    monkeypatch.setitem(clips.READ, "audio", until(0))
    load(own, tmp_path, ["audio"])  # nothing is decoded twice


def test_another_way_of_reading_is_another_cache(folder: Path, tmp_path: Path) -> None:
    more: list[dict[str, Any]] = [{}, {"mels": 20}, {"seconds": 0.5}]
    for knobs in more:
        shape = load(folder, tmp_path, ["audio"], **knobs).train.shapes["audio"]
    assert shape == (1, 16, 50)
    assert len(whole_arrays(tmp_path)) == 3


def test_votes_that_are_not_the_table(own: Path, tmp_path: Path) -> None:
    path = own / files.VOTES
    path.write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="expected the columns FileName, VoiceVote, FaceVote, MultiModalVote, missing"):
        load(own, tmp_path, ["audio"])
    path.write_text("FileName,VoiceVote,FaceVote,MultiModalVote\n1001_DFA_ANG_XX,A,Z,A\n")
    with pytest.raises(ValueError, match="line 2"):
        load(own, tmp_path, ["audio"])
    path.unlink()
    assert set(load(own, tmp_path, ["audio"]).train.groups) == {"actor"}
    with pytest.raises(FileNotFoundError, match="votes: no processedResults/summaryTable.csv"):
        files.votes(own)


def test_knobs_out_of_range(folder: Path, cache: Path) -> None:
    for knob, value in (("seconds", 0.1), ("mels", 500), ("frames", 0), ("size", 16), ("workers", -1)):
        with pytest.raises(ValueError, match=f"{knob}: expected"):
            load(folder, cache, **{knob: value})
    with pytest.raises(ValueError, match="modalities: unknown 'face'"):
        load(folder, cache, ["face"])
    with pytest.raises(TypeError, match="unknown knob 'fps' of 'cremad'"):
        load(folder, cache, fps=3)


def test_video_without_its_decoder_says_what_to_install(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(ModuleNotFoundError, match=r"video needs PyAV; install it with: pip install 'mmlib\[scale\]'"):
        load(folder, cache)
    assert len(load(folder, cache, ["audio"]).train) == 24


@pytest.mark.parametrize("workers", [0, 2])
def test_it_trains_with_workers_as_without(folder: Path, cache: Path, workers: int) -> None:
    splits = load(folder, cache, workers=workers)
    model = mmlib.build(splits, dim=8)
    history = mmlib.fit(model, splits, epochs=2, batch_size=8, device="cpu", progress=False)
    whole = load(folder, cache, in_memory=True)
    other = mmlib.build(whole, dim=8)
    again = mmlib.fit(other, whole, epochs=2, batch_size=8, device="cpu", progress=False)
    assert [{**r, "seconds": 0} for r in history.rows] == [{**r, "seconds": 0} for r in again.rows]


@pytest.mark.parametrize("name", ["joint", "late_fusion", "ogm_ge", "mla", "multi_loss", "unimodal"])
def test_the_methods_train_on_streamed_clips(folder: Path, cache: Path, name: str) -> None:
    splits = load(folder, cache)
    options: dict[str, Any] = {"modality": "video"} if name == "unimodal" else {}
    model = mmlib.build(splits, dim=8, normalise="layer")
    history = mmlib.fit(model, splits, METHODS[name](**options), epochs=1, batch_size=12, device="cpu", progress=False)
    assert np.isfinite(history.rows[-1]["val_loss"])


def test_gradient_blending_holds_out_actors_also_of_streamed_clips(folder: Path, cache: Path) -> None:
    weights = []
    for in_memory in (True, False):
        splits = load(folder, cache, in_memory=in_memory)
        method = METHODS["gradient_blending"](estimate="shared", holdout="actor", super_epoch=1)
        model = mmlib.build(splits, dim=8)
        mmlib.fit(model, splits, method, epochs=1, batch_size=12, class_weights="balanced", device="cpu", progress=False)
        weights.append(method.report())
    assert weights[0] == weights[1]
    assert {"weight_audio", "weight_video", "weight_joint"} <= set(weights[0])


def test_methods_are_compared_on_both_modalities(folder: Path, cache: Path) -> None:
    """From the name alone: the default encoders read clips, and every seed has the same split by actors."""
    options = {"folder": str(folder), "cache": str(cache), "frames": 2, "size": 32, "progress": False}
    settings = [
        Setting(name, "cremad", name, data_options=options, model_options={"dim": 8}, fit_options={"epochs": 1})
        for name in ("joint", "late_fusion")
    ]
    found = compare(settings, 2, workers=1, progress=False)
    assert not any(run.get("diverged") for run in found.runs)
    assert len(found.runs) == 4


def test_clips_and_their_names() -> None:
    assert files.parse("1001_IEO_FEA_HI") == files.Clip("1001_IEO_FEA_HI", 1001, "IEO", 2, "HI")
    for name in ("1001_IEO_FEA", "1092_IEO_FEA_HI", "1001_XXX_FEA_HI", "1001_IEO_JOY_HI", "readme"):
        with pytest.raises(ValueError, match="expected the name of a clip"):
            files.parse(name)


def test_the_list_can_be_read_by_anybody() -> None:
    with cremad.OFFICIAL.open(newline="") as file:
        assert next(csv.reader(file)) == ["clip", "split"]
