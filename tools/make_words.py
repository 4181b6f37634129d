"""Make ``mmlib/data/assets/words.tsv``: the names of zero to nine in many languages.

Needs the development packages ``num2words`` (the names) and ``anyascii`` (other scripts to Latin letters).

    python tools/make_words.py           # writes the file
    python tools/make_words.py --check   # makes it again in memory and compares the bytes

Columns: code of num2words, language, digit, word as written, romanised (a to z only).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

TARGET = Path(__file__).resolve().parent.parent / "mmlib" / "data" / "assets" / "words.tsv"
HEADER = "code\tlanguage\tdigit\tword\tromanised"

# Every language num2words knew in version 0.5.14, but for regional variants, whose ten words are those of the main
# language, and Japanese, whose characters anyascii reads in Mandarin.
LANGUAGES = {
    "am": "Amharic", "ar": "Arabic", "az": "Azerbaijani", "be": "Belarusian", "bn": "Bengali", "ca": "Catalan",
    "ce": "Chechen", "cs": "Czech", "cy": "Welsh", "da": "Danish", "de": "German", "en": "English", "eo": "Esperanto",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "he": "Hebrew", "hu": "Hungarian",
    "id": "Indonesian", "is": "Icelandic", "it": "Italian", "kn": "Kannada", "ko": "Korean", "kz": "Kazakh",
    "lt": "Lithuanian", "lv": "Latvian", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese",
    "ro": "Romanian", "ru": "Russian", "sk": "Slovak", "sl": "Slovene", "sr": "Serbian", "sv": "Swedish",
    "te": "Telugu", "tet": "Tetum", "tg": "Tajik", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese",
}  # fmt: skip


def make() -> bytes:
    from anyascii import anyascii
    from num2words import num2words

    english = [num2words(digit, lang="en") for digit in range(10)]
    lines = [HEADER]
    for code, language in LANGUAGES.items():
        words = [num2words(digit, lang=code) for digit in range(10)]
        if words == english and code != "en":
            raise RuntimeError(f"num2words falls back to English for {code!r}: leave it out")
        for digit, word in enumerate(words):
            word = word.strip()
            romanised = "".join(letter for letter in anyascii(word).lower() if "a" <= letter <= "z")
            if not romanised:
                raise RuntimeError(f"{code!r}: nothing left of {word!r}")
            lines.append(f"{code}\t{language}\t{digit}\t{word}\t{romanised}")
    return ("\n".join(lines) + "\n").encode()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--check", action="store_true", help="compare with the shipped file instead of writing it")
    check = parser.parse_args().check
    made = make()
    if not check:
        TARGET.parent.mkdir(parents=True, exist_ok=True)
        TARGET.write_bytes(made)
        print(f"{TARGET.name}: {len(made):,} bytes, {len(LANGUAGES)} languages")
        return 0
    same = TARGET.exists() and TARGET.read_bytes() == made
    print(f"{TARGET.name}: {'the same bytes' if same else 'DIFFERENT from what this script makes'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
