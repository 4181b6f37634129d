"""The shipped files: small, plain, and the very bytes that the scripts in tools/ make."""

from __future__ import annotations

import importlib
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mmlib.data import DATASETS, cremad
from mmlib.data.digits import ASSETS, number_words, speech

ROOT = Path(__file__).resolve().parents[1]


def need(*packages: str) -> None:
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError:
            pytest.skip(f"the development package {package} is not installed: the file cannot be made again here")


def check(script: str) -> None:
    done = subprocess.run([sys.executable, str(ROOT / "tools" / script), "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_speech_is_what_its_script_makes() -> None:
    need("espeakng_loader", "scipy")
    check("make_speech.py")


def test_the_words_are_what_their_script_makes() -> None:
    need("num2words", "anyascii")
    check("make_words.py")


def test_a_changed_file_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    need("num2words", "anyascii")
    import make_words

    altered = tmp_path / "words.tsv"
    altered.write_bytes((ASSETS / "words.tsv").read_bytes().replace(b"seven", b"sevem"))
    monkeypatch.setattr(make_words, "TARGET", altered)
    monkeypatch.setattr(sys, "argv", ["make_words.py", "--check"])
    assert make_words.main() == 1
    assert "DIFFERENT" in capsys.readouterr().out


def test_the_files_are_small_and_all_named() -> None:
    files = {f for f in ASSETS.iterdir() if f.is_file()}
    told = ASSETS / "ATTRIBUTION.txt"
    assert files == {told, cremad.OFFICIAL, *(asset for known in DATASETS.values() for asset in known.assets)}
    for name, most in (("digits", 8_000_000), ("emoji", 4_000_000)):
        assert sum(f.stat().st_size for f in DATASETS[name].assets) <= most
    assert all(f.name in told.read_text("utf8") for f in files - {told})


def test_the_speech_file_is_plain_and_the_same_on_every_day() -> None:
    with zipfile.ZipFile(ASSETS / "speech.npz") as archive:
        for entry in archive.infolist():
            assert entry.date_time == (1980, 1, 1, 0, 0, 0)
            assert entry.compress_type == zipfile.ZIP_STORED
    with np.load(ASSETS / "speech.npz", allow_pickle=False) as shipped:
        assert set(shipped.files) == {"sound", "lengths", "voices", "accents", "sample_rate"}
        assert shipped["lengths"].sum() == len(shipped["sound"])


def test_every_voice_says_every_digit() -> None:
    spoken = speech()
    assert len(set(spoken.voices)) == len(spoken.voices)
    assert len(spoken.waveforms) == len(spoken.voices) * 10 * spoken.takes
    seconds = (spoken.waveforms != 0).sum(1) / 8000
    assert seconds.min() > 0.08
    loudness = np.sqrt((spoken.waveforms**2).sum(1) / (spoken.waveforms != 0).sum(1))
    assert np.abs(loudness[seconds < 0.6] - 0.1).max() < 0.01
    assert len({w.tobytes() for w in spoken.waveforms}) == len(spoken.waveforms), "no recording stands twice"


def test_the_words_are_names_of_numbers() -> None:
    words = number_words()
    english = words.languages.index("English")
    assert words.romanised[english] == "zero one two three four five six seven eight nine".split()
    assert words.written[words.languages.index("Russian")][4] == "четыре"
    assert len(words.languages) >= 40
    assert len({tuple(w) for w in words.written}) == len(words.languages), "no language stands twice"
    for names in words.romanised:
        assert len(names) == 10
        assert all(n.isascii() and n.isalpha() and n.islower() for n in names)
