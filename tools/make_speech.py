"""Make ``mmlib/data/assets/speech.npz``: the ten English digits, spoken by eSpeak NG.

Needs the development packages ``espeakng-loader`` (the synthesiser and its voices) and ``scipy``. Run once:

    python tools/make_speech.py           # writes the file
    python tools/make_speech.py --check   # makes it again in memory and compares the bytes

A *voice* is one of eSpeak NG's voice variants (formants, pitch, breath) with one English accent. Every voice says
every digit `TAKES` times. Each voice has a pace, a pitch and a melody of its own, and each take strays from them by up to a
tenth, all drawn from fixed seeds. The sound is brought to
8 kHz, trimmed, set to one loudness and stored as 8-bit mu-law (ITU-T G.711's companding curve, mu = 255).
"""

from __future__ import annotations

import argparse
import ctypes
import io
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

TARGET = Path(__file__).resolve().parent.parent / "mmlib" / "data" / "assets" / "speech.npz"
SAMPLE_RATE = 8_000  # Hz
TAKES = 3
RMS = 0.1  # loudness of every utterance, full scale 1
WORDS = "zero one two three four five six seven eight nine".split()
ACCENTS = "en en-US en-GB-scotland en-GB-x-gbclan en-GB-x-gbcwmd en-GB-x-rp en-029 en-US-nyc".split()

# 64 of the 104 variants. Left out: those that a network trained on the other voices understood in fewer than 80 % of
# the words, with their accent or with the British one (Alicia, UniRobot, iven2, kaukovalta, shelby, steph3, whisperf, zac);
# by judgement, Marco (too slow for the window of 0.64 s), norbert (barely understood) and Demonic (a novelty); then, of the two
# closest voices by mean log-mel spectrum, one after another, the one with more close neighbours (edward2 is near adam).
VOICES = """Andrea Andy Annie AnxiousAndy Denis Gene2 Henrique Hugo Jacky Lee Mario Michael Mike Mr_serious Nguyen Reed
RicishayMax RicishayMax2 Storm Tweaky anika announcer antonio aunty belinda boris caleb david ed edward f1 f3 f4 f5
grandma gustave ian iven iven4 john klatt klatt3 klatt6 linda m2 m3 m4 m5 m7 marcelo miguel mike2 pablo paul pedro
quincy robosoft2 robosoft4 robosoft6 robosoft8 steph travis victor whisper""".split()

SYNCHRONOUS, RATE, PITCH, RANGE, UTF8 = 2, 1, 3, 4, 1  # constants of speak_lib.h
Sound = NDArray[np.float64]


class Synthesiser:
    """eSpeak NG through its C interface."""

    def __init__(self) -> None:
        import espeakng_loader

        self.library = ctypes.CDLL(espeakng_loader.get_library_path())
        self.rate = self.library.espeak_Initialize(SYNCHRONOUS, 0, espeakng_loader.get_data_path().encode(), 0)
        if self.rate <= 0:
            raise RuntimeError(f"eSpeak NG did not start: espeak_Initialize returned {self.rate}")
        self.library.espeak_ng_SetRandSeed.argtypes = [ctypes.c_long]
        self.pieces: list[NDArray[np.int16]] = []
        kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
        self.callback = kind(self._keep)  # held here: the library keeps only the address
        self.library.espeak_SetSynthCallback(self.callback)

    def _keep(self, wave: ctypes._Pointer[ctypes.c_short], count: int, events: int | None) -> int:
        if count > 0:
            self.pieces.append(np.ctypeslib.as_array(wave, shape=(count,)).copy())
        return 0

    def say(self, voice: str, text: str, speed: int, pitch: int, pitch_range: int) -> Sound:
        """Samples [T] in -1 .. 1 at `self.rate`; speed in words a minute, pitch and range 0 .. 99."""
        self.pieces.clear()
        self.library.espeak_ng_SetRandSeed(1)  # breath and flutter are random, by default from the clock
        if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise RuntimeError(f"eSpeak NG has no voice {voice!r}")
        for parameter, value in ((RATE, speed), (PITCH, pitch), (RANGE, pitch_range)):
            self.library.espeak_SetParameter(parameter, value, 0)
        encoded = text.encode()
        self.library.espeak_Synth(encoded, len(encoded) + 1, 0, 1, 0, UTF8, None, None)
        return np.concatenate(self.pieces) / 32768.0


def tidy(sound: Sound, rate: int) -> Sound:
    """To 8 kHz, without the silence at both ends, at one loudness."""
    from math import gcd

    from scipy.signal import resample_poly

    step = gcd(SAMPLE_RATE, rate)
    sound = resample_poly(sound, SAMPLE_RATE // step, rate // step)
    width = SAMPLE_RATE // 50
    envelope = np.sqrt(np.convolve(sound**2, np.full(width, 1 / width), "same"))
    loud = np.nonzero(envelope > 0.02 * envelope.max())[0]
    sound = sound[loud[0] : loud[-1] + 1]
    return sound * (RMS / np.sqrt(np.mean(sound**2)))


def mu_law(sound: Sound) -> NDArray[np.uint8]:
    """8-bit mu-law: -1 .. 1 to 0 .. 255."""
    clipped = np.clip(sound, -1, 1)
    return np.round((np.sign(clipped) * np.log1p(255 * np.abs(clipped)) / np.log(256) + 1) * 127.5).astype(np.uint8)


def make() -> bytes:
    """The whole file. Call it once per process: the synthesiser's noise generator carries on from call to call."""
    synthesiser = Synthesiser()
    sounds = []
    for number, voice in enumerate(VOICES):
        manner = np.random.default_rng([number])
        pace, height, melody = (int(manner.integers(*between)) for between in ((130, 231), (30, 71), (20, 81)))
        for digit, word in enumerate(WORDS):
            for take in range(TAKES):
                draw = np.random.default_rng([number, digit, take])
                speed, pitch, span = (int(draw.integers(x - x // 10, x + x // 10 + 1)) for x in (pace, height, melody))
                name = f"gmw/{ACCENTS[number % len(ACCENTS)]}+{voice.replace('_', ' ')}"
                sounds.append(mu_law(tidy(synthesiser.say(name, word, speed, pitch, span), synthesiser.rate)))
    arrays: dict[str, NDArray[Any]] = {
        "sound": np.concatenate(sounds),  # one utterance after another: by voice, then digit, then take
        "lengths": np.array([len(s) for s in sounds], dtype=np.int32).reshape(len(VOICES), len(WORDS), TAKES),
        "voices": np.array(VOICES),
        "accents": np.array([ACCENTS[i % len(ACCENTS)] for i in range(len(VOICES))]),
        "sample_rate": np.array(SAMPLE_RATE, dtype=np.int32),
    }
    return npz(arrays)


def npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    """An .npz whose bytes depend on the arrays alone: fixed times, and no compression, whose output varies by version."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, array in arrays.items():
            member = io.BytesIO()
            np.lib.format.write_array(member, array, version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            archive.writestr(entry, member.getvalue())
    return buffer.getvalue()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the shipped file instead of writing it")
    check = parser.parse_args().check
    made = make()
    if not check:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_bytes(made)
        print(f"{TARGET.name}: {len(made):,} bytes, {len(VOICES)} voices, {len(VOICES) * len(WORDS) * TAKES:,} utterances")
        return 0
    same = TARGET.exists() and TARGET.read_bytes() == made
    print(f"{TARGET.name}: {'the same bytes' if same else 'DIFFERENT from what this script makes'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
