"""Words that sound like a keyword: one of its sounds is another one, or a consonant is missing. Spoken by eSpeak NG, once.

All words of a language that differ so are among them, and many that are none. None is a keyword or has one in it, as it sounds
in any accent at hand. Each is in one part: for training, validation or test, as its voices are. The keywords are spoken beside
them by the same voices: else a model could learn that synthetic speech is never a keyword.
"""

from __future__ import annotations

import json
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np

from hpcnas.core.errors import DataError
from hpcnas.data import espeak
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import SPLITS, UNKNOWN, CorpusIndex, DataConfig, Example
from hpcnas.data.espeak import Phoneme
from hpcnas.data.noise import TURNS
from hpcnas.data.speech_maker import VOICES, Planned, made_once, write_corpus
from hpcnas.data.spelling import composed, words_of
from hpcnas.data.splitting import share_of
from hpcnas.data.synthetic import ACCENTS
from hpcnas.data.synthetic_languages import WORDS
from hpcnas.data.synthetic_negatives import ENGLISH

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised when the same keywords give other speech."""
TAKES, TAKES_OF_KEYWORDS = 5, 15
"""Recordings of each word, and of each keyword in each part."""
SNR_DB = (0.0, 20.0)
LISTED = "words.json"
VOWELS = frozenset("aeiouyæøœɑəɘɚɜɝɞɤɨɪɯɵɶʉʊʏ")
"""Letters of IPA that vowels begin with."""
SAME = str.maketrans({"ɒ": "ɑ", "ɔ": "ɑ", "ʌ": "ə", "ɐ": "ə", "ᵻ": "ɪ", "ɛ": "e", "ɾ": "t", "\u0329": ""})
"""Sounds that some accents exchange, or that stand for each other within one, and the mark of syllables without vowel."""
NUMBERS = tuple(map(str, [*range(21), 30, 40, 50, 60, 70, 80, 90, 100, 1000, 1000000]))
"""eSpeak NG reads these in every language."""

STRESS = "',%="
"""Marks of it before a phoneme."""
VARIANT = re.compile(r"[#-]|\D2$")
"""Of a phoneme, in eSpeak NG's spelling: ``t#``, ``I2``."""

Word = tuple[Phoneme, ...]
Sounds = tuple[str, ...]
"""A word in IPA, sounds of ``SAME`` as one."""


def part(config: DataConfig, corpus: CorpusIndex, split: str) -> tuple[Example, ...]:
    """Recordings for a split, made first if need be: words as ``_unknown_``, and the keywords; raises DataError."""
    root = folder(corpus.keywords, config)
    listed = json.loads((root / LISTED).read_text(encoding="utf-8"))[split]
    numbers = {name: label for label, name in enumerate(corpus.class_names)}
    return tuple(
        Example(root / path, numbers[said or UNKNOWN], name=f"{path}, of data.confusable_words")
        for path, said in listed
    )  # fmt: skip


def folder(keywords: Sequence[str], config: DataConfig) -> Path:
    """Where they are, made first if need be; the same for everyone."""
    digest = sha256("\n".join(sorted(composed(keyword) for keyword in keywords)).encode()).hexdigest()[:8]
    settings = f"{config.confusable_language}-{config.confusable_words}-{config.window_s:g}s"
    root = cache_folder(config.cache) / f"confusable-v{VERSION}-{settings}-{digest}"
    if not root.is_dir():
        logger.info("words that sound like keywords: synthesising into %s, once", root)
        made_once(root, lambda work: _write(work, keywords, config))
    return root


def chosen(keywords: Sequence[str], language: str, count: int) -> dict[str, list[Word]]:
    """So many words for each keyword, fewer where it has fewer; which, depends on keyword and word alone.

    Raises:
        DataError: for a language without a voice, or a keyword that it has no sounds for.
    """
    texts = [" ".join(words_of(keyword)) for keyword in keywords]
    accents = ACCENTS if language in ACCENTS else (language,)
    known = [*NUMBERS, *WORDS.get(language, "").split(), *(ENGLISH.split() if language in ACCENTS else ())]
    found = espeak.phonemes({language: [*texts, *known]} | {accent: texts for accent in accents if accent != language})
    of_language = found[language]
    if of_language is None:
        raise DataError(f'data.confusable_language = "{language}": eSpeak NG has no such voice; en-us, de, fr ... are some')
    spoken = dict(zip(keywords, of_language))
    if silent := next((keyword for keyword, word in spoken.items() if not word), None):
        raise DataError(
            f'data.confusable_words: "{silent}" has no sounds in data.confusable_language = "{language}"; set its language, or '
            "name the keyword as it is written there"
        )
    inventory = _inventory(of_language)
    forbidden = {sounds(word) for words in found.values() for word in (words or [])[: len(texts)] if word}
    taken: set[Sounds] = set()
    choice: dict[str, list[Word]] = {}
    for keyword, word in sorted(spoken.items()):
        near = [one for one in neighbours(word, inventory) if not any(has(sounds(one), other) for other in forbidden)]
        fresh = {sounds(one): one for one in near if sounds(one) not in taken}
        shares = {one: share_of(f"{keyword}: {' '.join(one)}") for one in fresh}
        first = sorted(fresh, key=shares.__getitem__)[:count]
        if len(first) < count:
            logger.warning('data.confusable_words = %d: "%s" has %d that sound like it', count, keyword, len(first))
        taken |= {*first}
        choice[keyword] = [fresh[one] for one in first]
    return choice


def neighbours(word: Word, inventory: Mapping[str, str]) -> Iterator[Word]:
    """Words at an edit distance of one: a vowel is another one, a consonant another one or left out.

    Args:
        inventory: how eSpeak NG spells each sound of the language.
    """
    for place, ((spelling, _), sound) in enumerate(zip(word, sounds(word))):
        stress = spelling[: len(spelling) - len(spelling.lstrip(STRESS))]
        for other, other_spelling in inventory.items():
            if other != sound and is_vowel(other) == is_vowel(sound):
                yield (*word[:place], (stress + other_spelling, other), *word[place + 1 :])
        if not is_vowel(sound) and len(word) > 2:
            yield (*word[:place], *word[place + 1 :])


def sounds(word: Word) -> Sounds:
    return tuple(sound.translate(SAME) for _, sound in word)


def is_vowel(sound: str) -> bool:
    return sound[0] in VOWELS


def has(word: Sounds, part: Sounds) -> bool:
    """Whether the sounds of ``part`` follow each other in a word."""
    return any(word[first : first + len(part)] == part for first in range(len(word) - len(part) + 1))


def _inventory(words: Collection[Word]) -> dict[str, str]:
    """Sounds that occur, each with its most frequent spelling, but for variants that eSpeak NG has beside plain ones."""
    counts: dict[str, Counter[str]] = {}
    for word in words:
        for (spelling, _), sound in zip(word, sounds(word)):
            bare = spelling.lstrip(STRESS)
            if sound and not VARIANT.search(bare):
                counts.setdefault(sound, Counter())[bare] += 1
    return {sound: max(sorted(of), key=of.__getitem__) for sound, of in sorted(counts.items())}


def _write(root: Path, keywords: Sequence[str], config: DataConfig) -> None:
    choice = chosen(keywords, config.confusable_language, config.confusable_words)
    rng, plan = np.random.default_rng(0), []
    listed: dict[str, list[tuple[str, str]]] = {split: [] for split in SPLITS}

    def take(split: str, folder: str, text: str, takes: int, said: str) -> None:
        for number in range(takes):
            voice = f"{config.confusable_language}+{rng.choice(VOICES[split])}"
            rate, pitch = int(rng.integers(110, 261)), int(rng.integers(15, 86))
            path = f"{folder}/{voice.replace('+', '-')}_nohash_{split}{number}.wav"
            plan.append(Planned(split, path, {"text": text, "voice": voice, "rate": rate, "pitch": pitch}))
            listed[split].append((path, said))

    for place, (keyword, words) in enumerate(choice.items()):
        for split in SPLITS:
            take(split, f"{place} {keyword}", " ".join(words_of(keyword)), TAKES_OF_KEYWORDS, keyword)
        for number, word in enumerate(words):
            name = f"{place} {keyword}, {''.join(sounds(word))}"
            take(TURNS[number % len(TURNS)], name, espeak.of_phonemes(word), TAKES, "")
    note = f"Synthesised by hpcnas with eSpeak NG, version {VERSION}: {', '.join(keywords)}, and what sounds like them."
    write_corpus(root, plan, config.window_s, SNR_DB, rng, note)
    (root / LISTED).write_text(json.dumps(listed, ensure_ascii=False, indent=1), encoding="utf-8")
