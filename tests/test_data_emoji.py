"""emoji: families stay together, every knob does what it says, and the shipped files are what their script makes."""

from __future__ import annotations

import hashlib
import io
import json
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import make_emoji
import numpy as np
import pytest
import torch
from PIL import Image

from mmlib.data import MultimodalData, Splits, load
from mmlib.data.emoji import ASSETS, GROUPS, LENGTH, STYLES, VOCABULARY, emoji, letters


def same(a: MultimodalData, b: MultimodalData) -> bool:
    return torch.equal(a.labels, b.labels) and all(torch.equal(a.inputs[m], b.inputs[m]) for m in a.modalities)


def families(splits: Splits) -> list[set[int]]:
    return [set(data.groups["emoji"].tolist()) for _, data in splits.items()]


def family(text: str) -> int:
    known = emoji()
    return int(known.family[known.written.index(text)])


# --- what is in the files


def test_the_files() -> None:
    known = emoji()
    assert len(known.written) == len(set(known.written)) == 3511
    assert int(known.family.max()) + 1 == len(set(known.family.tolist())) == 1411
    for style in STYLES:
        assert known.pictures[style].shape == (3511, 32, 32, 3)
        assert known.pictures[style].dtype == np.uint8
        assert known.pictures[style].max() == 31, "white"
        assert (known.pictures[style].reshape(3511, -1).std(1) > 0.3).all(), "no picture is empty"
    assert (known.pictures["noto"] != known.pictures["twemoji"]).reshape(3511, -1).any(1).all()
    assert set(known.label.tolist()) == set(range(len(GROUPS)))
    assert sum((ASSETS / f"emoji.{kind}").stat().st_size for kind in ("npz", "tsv")) <= 4_000_000
    digest = {kind: hashlib.sha256((ASSETS / f"emoji.{kind}").read_bytes()).hexdigest()[:16] for kind in ("npz", "tsv")}
    assert digest == {"npz": "6e1985d61ca04017", "tsv": "547b6f93ea417546"}


@pytest.mark.parametrize(
    "one_family",
    [
        ["👍", "👍🏻", "👍🏿"],
        ["🏃", "🏃‍♀️", "🏃‍♂️", "🏃🏽‍♀️", "🏃‍➡️"],
        ["👨‍🚒", "👩‍🚒", "🧑‍🚒", "👩🏾‍🚒"],
        ["👨", "👩", "🧑", "👨‍🦰", "👩‍🦳", "👱", "🧔‍♀️"],
        ["🤴", "👸", "🫅"],
        ["🎅", "🤶", "🧑‍🎄"],
        ["🧜", "🧜‍♀️", "🧜‍♂️"],
        ["💃", "🕺"],
        ["👫", "👬", "👭", "🧑‍🤝‍🧑"],
        ["👪", "👨‍👩‍👧", "👩‍👩‍👦‍👦"],
        ["💑", "👩‍❤️‍👨", "👨‍❤️‍👨"],
        ["👦", "👧", "🧒"],
        ["👴", "👵", "🧓"],
    ],
    ids=lambda emoji: emoji[0],
)
def test_variants_of_one_emoji_are_one_family(one_family: list[str]) -> None:
    assert len({family(one) for one in one_family}) == 1


def test_others_are_families_of_their_own() -> None:
    apart = [
        "👍",
        "👎",
        "🏃",
        "🚶",
        "👨‍🚒",
        "👨‍🚀",
        "👨",
        "👶",
        "👦",
        "👪",
        "💏",
        "💑",
        "🤴",
        "🎅",
        "🐱",
        "🐶",
        "❤️",
        "💙",
        "🕐",
        "🕑",
    ]
    assert len({family(one) for one in apart}) == len(apart)
    known = emoji()
    for kind in set(known.label.tolist()) - {GROUPS.index("People & Body")}:
        mine = known.family[known.label == kind]
        assert len(set(mine.tolist())) == len(mine), "only people have variants"


def test_letters() -> None:
    assert letters("OK hand") == [15, 11, 27, 8, 1, 14, 4]
    assert letters("one o’clock: 1st") == [*letters("one o clock 1st")]
    assert letters("keycap: #") == letters("keycap")
    every = [letters(name) for name in emoji().names]
    assert all(ids and 0 < min(ids) <= max(ids) < VOCABULARY for ids in every)


# --- the splits


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("variants", [False, True])
def test_no_family_stands_in_two_splits_and_every_class_in_each(seed: int, variants: bool) -> None:
    splits = load("emoji", seed=seed, variants=variants)
    train, val, test = families(splits)
    assert len(train | val | test) == len(train) + len(val) + len(test)
    assert [len(f) for f in (train, val, test)] == [775, 213, 423]
    assert [len(data) for _, data in splits.items()][1:] == [213, 423]
    assert splits.classes == GROUPS
    for _, data in splits.items():
        assert set(data.labels.tolist()) == set(range(8))
        known = emoji()
        rows = [known.written.index(e) for e in data.raw["emoji"]]
        assert data.groups["emoji"].tolist() == known.family[rows].tolist()
        assert data.labels.tolist() == known.label[rows].tolist()


def test_shapes_names_and_pictures() -> None:
    splits = load("emoji", seed=1)
    data, known = splits.test, emoji()
    assert data.shapes == {"image": (3, 32, 32), "text": (LENGTH,)}
    assert data.inputs["image"].dtype == torch.float32
    assert data.inputs["text"].dtype == torch.int64
    for i in range(0, len(data), 50):
        row = known.written.index(data.raw["emoji"][i])
        spelled = letters(data.raw["name"][i])[:LENGTH]
        assert data.inputs["text"][i].tolist() == spelled + [0] * (LENGTH - len(spelled))
        bytes_of_it = np.rint(known.pictures["noto"][row].transpose(2, 0, 1) / 31 * 255)
        torch.testing.assert_close(
            splits.prepare["image"](bytes_of_it[None].astype(np.uint8))[0], data.inputs["image"][i], atol=0.01, rtol=0.01
        )
    train = splits.train.inputs["image"]
    torch.testing.assert_close(train.mean((0, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)
    torch.testing.assert_close(train.std((0, 2, 3)), torch.ones(3), atol=1e-4, rtol=0)


def test_a_seed_repeats_and_modalities_do_not_disturb_each_other() -> None:
    knobs: dict[str, Any] = {"image_noise": 0.1, "text_noise": 0.1}
    first, again, other = (load("emoji", seed=s, **knobs) for s in (3, 3, 4))
    assert all(same(a, b) for (_, a), (_, b) in zip(first.items(), again.items(), strict=True))
    assert first.test.raw["emoji"] != other.test.raw["emoji"]
    for m in ("image", "text"):
        single = load("emoji", [m], seed=3, **knobs)
        assert all(torch.equal(a.inputs[m], b.inputs[m]) for (_, a), (_, b) in zip(first.items(), single.items(), strict=True))


def test_fewer_families_leave_the_others_as_they_were() -> None:
    whole, few = load("emoji", seed=2), load("emoji", seed=2, families=100)
    assert 95 <= len(few.train) <= 105
    assert families(few)[0] < families(whole)[0]
    assert few.val.raw["emoji"] == whole.val.raw["emoji"]
    assert few.test.raw["emoji"] == whole.test.raw["emoji"]
    assert set(few.train.raw["emoji"]) < set(whole.train.raw["emoji"]), "and each has the same representative"
    smallest = load("emoji", seed=2, families=8)
    assert sorted(smallest.train.labels.tolist()) == list(range(8))


def test_variants_are_added_to_training_alone() -> None:
    plain, more = load("emoji", seed=5), load("emoji", seed=5, variants=True)
    assert families(plain) == families(more)
    assert plain.test.raw["emoji"] == more.test.raw["emoji"]
    assert set(plain.train.raw["emoji"]) < set(more.train.raw["emoji"])
    known = emoji()
    assert len(more.train) == int(np.isin(known.family, list(families(more)[0])).sum()) > 1500
    assert not any(known.toned[known.written.index(e)] for e in plain.train.raw["emoji"])
    assert (more.train.labels == GROUPS.index("People & Body")).float().mean() > 0.5, "as the docstring warns"


def test_styles() -> None:
    noto, shifted, both = load("emoji"), load("emoji", test_style="twemoji"), load("emoji", style="both")
    assert [set(d.raw["style"]) for _, d in shifted.items()] == [{"noto"}, {"noto"}, {"twemoji"}]
    assert same(noto.train, shifted.train)
    assert same(noto.val, shifted.val)
    assert not torch.equal(noto.test.inputs["image"], shifted.test.inputs["image"])
    assert torch.equal(noto.test.inputs["text"], shifted.test.inputs["text"])
    assert [len(d) for _, d in both.items()] == [2 * len(d) for _, d in noto.items()]
    assert families(both) == families(noto), "two styles of one emoji stand on one side"
    for _, data in both.items():
        half = len(data) // 2
        assert data.raw["emoji"][:half] == data.raw["emoji"][half:]
        assert data.raw["style"] == ["noto"] * half + ["twemoji"] * half


def test_noise() -> None:
    plain, noisy = load("emoji", seed=1), load("emoji", seed=1, image_noise=0.2, text_noise=0.25)
    spread = {name: data.inputs["image"].std().item() for name, data in noisy.items()}
    assert spread == pytest.approx(dict.fromkeys(spread, 1.0), abs=0.1)
    deviation = [torch.tensor(s.prepare["image"].std).mean().item() for s in (plain, noisy)]
    assert deviation[1] ** 2 - deviation[0] ** 2 == pytest.approx(0.04, rel=0.05)
    before, after = plain.train.inputs["text"], noisy.train.inputs["text"]
    assert torch.equal(before == 0, after == 0), "no letter where there was none"
    hit = (before != after)[before > 0].float().mean().item()
    assert hit == pytest.approx(0.25 * 36 / 37, abs=0.02)


@pytest.mark.parametrize(
    ("knobs", "kind", "message"),
    [
        ({"style": "apple"}, ValueError, "style: unknown 'apple'; known: noto, twemoji, both"),
        ({"test_style": "x"}, ValueError, "test_style: unknown 'x'"),
        ({"families": 7}, ValueError, r"families: expected .*8.*775 \(or 0 for all\), found 7"),
        ({"families": 776}, ValueError, "families: .*found 776"),
        ({"families": 10.5}, TypeError, "families"),
        ({"variants": 1}, TypeError, "variants: expected True or False, found 1"),
        ({"image_noise": -1}, ValueError, "image_noise"),
        ({"text_noise": 1.5}, ValueError, "text_noise"),
        ({"modalities": ["sound"]}, ValueError, "sound"),
        ({"letters": 3}, TypeError, "unknown knob 'letters' of 'emoji'"),
    ],
)
def test_knobs_out_of_range(knobs: dict[str, Any], kind: type[Exception], message: str) -> None:
    with pytest.raises(kind, match=message):
        load("emoji", **knobs)


# --- the script


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Small packages with a sheet of 2 x 2 cells, as npm would pack them."""
    entry = {"category": "People & Body", "unified": "1F44D", "sheet_x": 0, "sheet_y": 0, "sort_order": 2}
    tone = {"1F3FB": {"unified": "1F44D-1F3FB", "sheet_x": 0, "sheet_y": 1}}
    entries = [
        {**entry, "skin_variations": tone},
        {"category": "Symbols", "unified": "2764-FE0F", "sheet_x": 1, "sheet_y": 0, "sort_order": 1},
        {"category": "Flags", "unified": "1F3F4", "sheet_x": 1, "sheet_y": 1, "sort_order": 3},
    ]
    named = {
        "annotations": {"👍": "thumbs up", "❤": "red heart", "🏴": "black flag"},
        "annotationsDerived": {"👍🏻": "thumbs up: light"},
    }
    content: dict[str, dict[str, bytes]] = {package: {} for package in make_emoji.PACKAGES}
    content[make_emoji.LIST[0]][make_emoji.LIST[1]] = json.dumps(entries).encode()
    for package, path, key in make_emoji.NAMES:
        told = {text: {"tts": [name]} for text, name in named[key].items()}
        content[package][path] = json.dumps({key: {"annotations": told}}).encode()
    for number, (package, path) in enumerate(make_emoji.SHEETS.values()):
        sheet = np.zeros((68, 68, 4), dtype=np.uint8)  # nothing: white
        sheet[1:33, 1:33] = (255, 0, 40 * number, 255)
        sheet[35:67, 1:33] = (0, 0, 0, 51)  # a fifth of black
        sheet[1:33, 35:67] = (8, 16, 24, 255)
        whole = io.BytesIO()
        Image.fromarray(sheet).save(whole, format="png")
        content[package][path] = whole.getvalue()
    digests = {}
    for package, files in content.items():
        path = tmp_path / (package.replace("@", "-") + ".tgz")
        with tarfile.open(path, "w:gz") as archive:
            for name, data in files.items():
                told = tarfile.TarInfo(name)
                told.size = len(data)
                archive.addfile(told, io.BytesIO(data))
        digests[package] = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setattr(make_emoji, "PACKAGES", digests)
    return tmp_path


def test_the_script_by_value(packages: Path) -> None:
    made = make_emoji.make(make_emoji.fetched(packages))
    assert made["emoji.tsv"].decode().splitlines() == [
        make_emoji.HEADER,
        "❤️\tSymbols\t0\t0\tred heart",
        "👍\tPeople & Body\t1\t0\tthumbs up",
        "👍🏻\tPeople & Body\t1\t1\tthumbs up: light",
    ]
    with np.load(io.BytesIO(made["emoji.npz"])) as file:
        assert file.files == ["noto", "twemoji"]
        assert [file["noto"][i, 5, 5].tolist() for i in range(3)] == [[1, 2, 3], [31, 0, 0], [25, 25, 25]]
        assert file["twemoji"][1, 31, 31].tolist() == [31, 0, 5]
        assert file["noto"].shape == (3, 32, 32, 3)


def test_the_script_makes_the_same_bytes_on_every_day(packages: Path) -> None:
    first, again = (make_emoji.make(make_emoji.fetched(packages)) for _ in range(2))
    assert first == again
    with zipfile.ZipFile(io.BytesIO(first["emoji.npz"])) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_the_script_notices(packages: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(make_emoji, "ASSETS", packages)
    monkeypatch.setattr(sys, "argv", ["make_emoji.py", "--packages", str(packages)])
    assert make_emoji.main() == 0
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--check"])
    assert make_emoji.main() == 0
    assert capsys.readouterr().out.count("the same bytes") == 2
    with np.load(packages / "emoji.npz") as file:
        arrays = {k: file[k] for k in file.files}
    np.savez_compressed(packages / "emoji.npz", **arrays)  # the same pictures, other bytes
    assert make_emoji.main() == 0
    assert "packed by another zlib" in capsys.readouterr().out
    arrays["noto"][0, 0, 0, 0] ^= 1
    np.savez_compressed(packages / "emoji.npz", **arrays)
    assert make_emoji.main() == 1
    assert "emoji.npz: DIFFERENT" in capsys.readouterr().out
    with (packages / "cldr-annotations-full-48.2.0.tgz").open("ab") as package:
        package.write(b"x")
    with pytest.raises(RuntimeError, match=r"cldr-annotations-full-48\.2\.0\.tgz: expected SHA-256 .*, found"):
        make_emoji.main()
