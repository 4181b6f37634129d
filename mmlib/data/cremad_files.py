"""The files of `cremad`: what is in a local copy of the public repository, and what their names and the table of votes say.

Nothing is downloaded here: the media lie in Git LFS, and are large (`HOW_TO_GET`).
"""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

NAME = "cremad"
#: class -> the code in a clip's name, and the letter in the votes
EMOTIONS = {
    "anger": ("ANG", "A"),
    "disgust": ("DIS", "D"),
    "fear": ("FEA", "F"),
    "happiness": ("HAP", "H"),
    "neutral": ("NEU", "N"),
    "sadness": ("SAD", "S"),
}
SENTENCES = ("IEO", "TIE", "IOM", "IWW", "TAI", "MTI", "IWL", "ITH", "DFA", "ITS", "TSI", "WSI")
ACTORS = range(1001, 1092)
CLIPS = 7_442  #: in the public repository
FOLDERS = {"audio": ("AudioWAV", ".wav"), "video": ("VideoFlash", ".flv")}
VOTES = "processedResults/summaryTable.csv"
_CODES = {code: number for number, (code, _) in enumerate(EMOTIONS.values())}
_CLIP = re.compile(rf"(10[0-9]{{2}})_({'|'.join(SENTENCES)})_({'|'.join(_CODES)})_(LO|MD|HI|XX)")
POINTER = b"version https://git-lfs"

HOW_TO_GET = (
    "get CREMA-D with Git LFS (the two folders that are read: about 0.6 GB of AudioWAV and 2.6 GB of VideoFlash; the whole "
    "repository: 7.6 GB):\n"
    "    GIT_LFS_SKIP_SMUDGE=1 git clone https://gitlab.com/cs-cooper-lab/crema-d-mirror.git CREMA-D\n"
    '    cd CREMA-D && git lfs pull --include "AudioWAV/*,VideoFlash/*"\n'
    "(the mirror of its authors; https://github.com/CheyneyComputerScience/CREMA-D is the original, whose budget for large files "
    "is often used up), and pass its folder"
)


class Clip(NamedTuple):
    """What a clip's name says."""

    name: str
    actor: int
    sentence: str
    emotion: int  # position in EMOTIONS
    level: str  # LO, MD, HI, or XX where none was asked for


class Vote(NamedTuple):
    """Which emotions most raters named, as letters of `EMOTIONS`: more than one where there is a tie."""

    audio: tuple[str, ...]
    video: tuple[str, ...]
    both: tuple[str, ...]


def parse(name: str) -> Clip:
    """The parts of a clip's name, such as ``1001_DFA_ANG_XX``.

    Raises:
        ValueError: not the name of a clip.
    """
    found = _CLIP.fullmatch(name)
    if found is None or int(found[1]) not in ACTORS:
        raise ValueError(f"{name!r}: expected the name of a clip, ACTOR_SENTENCE_EMOTION_LEVEL, such as '1001_DFA_ANG_XX'")
    return Clip(name, int(found[1]), found[2], _CODES[found[3]], found[4])


def index(folder: Path, modalities: Sequence[str]) -> list[Clip]:
    """The clips of a copy of the repository, by name, that have a file for each of the modalities.

    Raises:
        FileNotFoundError: no folder, no CREMA-D in it, or a clip that has a file for one modality and none for another; the
            message says what is missing and how to get it.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"folder: no folder {folder}; {HOW_TO_GET}")
    there: dict[str, set[str]] = {}
    for modality in modalities:
        place, suffix = FOLDERS[modality]
        stems = {p.stem for p in (folder / place).glob(f"*{suffix}")} if (folder / place).is_dir() else set()
        there[modality] = {stem for stem in stems if _CLIP.fullmatch(stem)}
        if not there[modality]:
            raise FileNotFoundError(f"folder: {folder} is no copy of CREMA-D: no clips {place}/*{suffix} in it; {HOW_TO_GET}")
    every = sorted(set.union(*there.values()))
    for modality, names in there.items():
        missing = [name for name in every if name not in names]
        if missing:
            place, suffix = FOLDERS[modality]
            raise FileNotFoundError(
                f"folder: {len(missing)} of {len(every)} clips have no {modality}, such as {place}/{missing[0]}{suffix}; fetch "
                f"them (git lfs pull), or ask for modalities=({', '.join(repr(m) for m in modalities if m != modality)},)"
            )
    return [parse(name) for name in every]


def votes(folder: Path) -> dict[str, Vote]:
    """clip -> what the raters heard, saw, and perceived with both: the summary table of the repository.

    Raises:
        FileNotFoundError: no table. ValueError: not that table.
    """
    path = folder / VOTES
    if not path.is_file():
        raise FileNotFoundError(f"votes: no {VOTES} in {folder}; it comes with the repository of CREMA-D")
    if path.read_bytes()[: len(POINTER)] == POINTER:
        raise ValueError(f"votes: {VOTES} is a pointer of Git LFS; fetch it with: git lfs pull --include {VOTES}")
    letters = {letter for _, letter in EMOTIONS.values()}
    found: dict[str, Vote] = {}
    with path.open(newline="", encoding="utf8") as file:
        table = csv.DictReader(file)
        wanted = ("FileName", "VoiceVote", "FaceVote", "MultiModalVote")
        missing = [c for c in wanted if c not in (table.fieldnames or ())]
        if missing:
            raise ValueError(f"votes: {VOTES}: expected the columns {', '.join(wanted)}, missing: {', '.join(missing)}")
        for line, row in enumerate(table, start=2):
            ballots = [tuple((row[c] or "").split(":")) for c in wanted[1:]]
            if not _CLIP.fullmatch(row["FileName"] or "") or not all(set(b) <= letters for b in ballots):
                raise ValueError(f"votes: {VOTES}, line {line}: expected a clip and letters of {sorted(letters)}, found {row}")
            found[row["FileName"]] = Vote(*ballots)
    return found


def read_split(path: Path) -> dict[str, str]:
    """clip -> "train", "val" or "test", of a table with the columns ``clip`` and ``split``.

    Raises:
        FileNotFoundError, ValueError: no such table; the message says what it must hold.
    """
    if not path.is_file():
        raise FileNotFoundError(f"split: no file {path}; expected 'actors', 'random', or a table with the columns clip, split")
    found: dict[str, str] = {}
    with path.open(newline="", encoding="utf8") as file:
        table: csv.DictReader[str] = csv.DictReader(file)
        rows: list[Mapping[str, str]] = list(table)
        if not {"clip", "split"} <= set(table.fieldnames or ()):
            raise ValueError(
                f"split: {path.name}: expected the columns clip, split, found {', '.join(table.fieldnames or ()) or 'none'}"
            )
    for line, row in enumerate(rows, start=2):
        if row["split"] not in ("train", "val", "test"):
            raise ValueError(f"split: {path.name}, line {line}: expected train, val or test, found {row['split']!r}")
        if found.get(row["clip"], row["split"]) != row["split"]:
            raise ValueError(f"split: {path.name}, line {line}: {row['clip']!r} stands in two splits")
        found[row["clip"]] = row["split"]
    return found
