"""Built-in audio without keywords: sentences in eight languages, spoken by eSpeak NG in noise, synthesised on first use.

Half of it is English in six accents. No word is a keyword, by its letters or by its sounds. Voices are those of the built-in
keywords' split, so that nobody is heard in validation and test.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import numpy as np
import soundfile

from hpcnas.data import espeak
from hpcnas.data.audio import RATE, fitted
from hpcnas.data.cache import cache_folder
from hpcnas.data.lists import LISTS
from hpcnas.data.speech_maker import VOICES, made_noises, made_once, of_unit_power
from hpcnas.data.spelling import composed, words_of
from hpcnas.data.synthetic import ACCENTS
from hpcnas.data.synthetic_languages import WORDS

logger = logging.getLogger(__name__)

VERSION = 1
"""Raised when the same hours give other audio."""
RECORDING_S = 300.0
VALIDATION = 3 / 7
"""Share of the hours; the others are for the test."""
SNR_DB = (0.0, 20.0)
PAUSE_S = (0.2, 2.0)
UTTERANCES = 32
"""Of a recording, more than fit; as many as are synthesised in one process."""
AT_ONCE = 8
"""Recordings whose speech is in memory."""
ENGLISH = """
    about above account across address afraid agree airport almost along already although amount animal another answer any
    apple arm around arrive ask autumn away baby back bad bag ball bank basket bath bear become bell below better bicycle
    big birthday black blue boat body book bottle bottom box bread breakfast bring brother brown building burn busy butter
    button buy cake call camera car card careful carry castle catch chair change cheap cheese chicken child choose circle
    city class clean clear climb clock close cloud coat coffee cold colour come company cook copper corner correct cost
    cotton count country course cow cross cup cut dance dark daughter day deep desk dinner dirty doctor door double draw
    dream dress drive drop dry during each early earth easy edge egg empty end engine enough evening every example eye face
    fact fall far farm fast father field finger finish fire fish floor flower fly follow food foot forest forget fork fresh
    fruit full game gate gather gentle give glass gold gone good grandmother grass great green ground grow guess guest
    guitar hair half hand hang hard hat hear heart heavy help hill history hold holiday hope horse hospital hot hour hundred
    hurry ice idea important island jacket job join juice jump keep kettle key kind kitchen knee knife lady lake lamp
    language last late laugh law leaf leather leave lemon lesson letter library life lift like line lion list listen live
    long look lose lot loud love low luck lunch machine make many map market match maybe meal mean measure meat meet memory
    message metal middle milk minute mirror money month moon more mountain mouth move music name narrow nature near neck
    need neighbour net new news nice noise noon north nose note nothing notice ocean offer office often oil old open orange
    order other owner page paint pair paper parent park part party pass past pay pear pencil people pepper person picture
    piece place plane plant plate play please plenty pocket point police poor post potato pound practice present pretty
    price print problem promise public pull purple push queen question quick quiet quite radio railway rain reach read ready
    real reason receive record red remember rest rice rich ride ring river road roof room root rope round rule run sad safe
    salt same sand save say sea season seat second secret see sell send sentence serious seven several shadow shape share
    sharp sheep shelf ship shirt shoe shop shore short shoulder show shut sick side sign silver simple since sing sister
    size skin sky sleep slow small smile smoke snow soap soft soldier some song soon sorry sound soup south space speak
    special spend spoon sport spring square stairs stamp stand star state stay steam step stick stock stomach stone storm
    story straight strange stream strong student study sugar suit summer sun supper sure surprise sweet swim table take talk
    tall taste taxi teach team tell thank theatre thick thin thing think third thousand throw ticket tie tired together
    tomato tooth touch towel town toy trade traffic travel tree trip trouble true trust try turn ugly umbrella uncle under
    understand until upon useful usual valley vegetable village visit voice wait wake walk wall want warm wash waste watch
    wave way wear weather wet wheel white whole wide wife wild wind winter wish without woman wonder wood word world worry
    wrong year yellow yesterday yet young
"""


@dataclass(frozen=True)
class Recording:
    """One to make: a voice that says sentences."""

    name: str
    utterances: Sequence[espeak.Utterance]
    seed: int


def folder(keywords: Collection[str], hours: float, cache: str, for_training: bool = False) -> Path:
    """So much audio without these keywords, for validation and test or for training, made first if need be; the same for
    everyone."""
    digest = sha256("\n".join(sorted(composed(keyword).casefold() for keyword in keywords)).encode()).hexdigest()[:8]
    purpose = "-training" if for_training else ""
    root = cache_folder(cache) / f"builtin-negatives-v{VERSION}{purpose}-{hours:g}h-{digest}"
    if not root.is_dir():
        logger.info("built-in audio without keywords: synthesising %g h into %s, once", hours, root)
        made_once(root, lambda work: _write(work, keywords, hours, for_training))
    return root


def vocabulary(keywords: Collection[str]) -> dict[str, list[str]]:
    """Words of each language that neither are a keyword, or a word of one, nor sound like it."""
    spoken = sorted({word for keyword in keywords for word in words_of(keyword)})
    words = {language: text.split() for language, text in WORDS.items()}
    words["en-us"] = sorted({*words["en-us"], *ENGLISH.split()})
    sounds = espeak.sounds({language: [*own, *spoken] for language, own in words.items()}) if spoken else {}
    kept = {}
    for language, own in words.items():
        heard = dict(zip([*own, *spoken], sounds.get(language, [])))
        forbidden = {heard[word] for word in spoken}
        kept[language] = [word for word in own if not {*words_of(word)} & {*spoken} and heard.get(word) not in forbidden]
    return kept


def planned(words: Mapping[str, Sequence[str]], hours: float, for_training: bool = False) -> dict[str, list[Recording]]:
    """What is to be made for validation and test, or for training."""
    rng, others = np.random.default_rng(int(for_training)), [language for language in words if language != "en-us"]
    total = max(2, round(hours * 3600 / RECORDING_S))
    if for_training:
        counts = {"train": total}
    else:
        counts = {"validation": min(total - 1, max(1, round(VALIDATION * total)))}
        counts["test"] = total - counts["validation"]
    plan: dict[str, list[Recording]] = {}
    for split, count in counts.items():
        plan[split] = []
        for number in range(count):
            language = "en-us" if number % 2 else others[number // 2 % len(others)]
            voice = f"{rng.choice(ACCENTS) if number % 2 else language}+{rng.choice(VOICES[split])}"
            rate, pitch = int(rng.integers(120, 231)), int(rng.integers(15, 86))
            texts = [" ".join(_sentence(words[language], rng) for _ in range(round(rate / 50))) for _ in range(UTTERANCES)]
            utterances = [espeak.Utterance(text=text, voice=voice, rate=rate, pitch=pitch) for text in texts]
            name = f"{language}/{voice.replace('+', '-')}_nohash_{split}{number}.wav"
            plan[split].append(Recording(name, utterances, int(rng.integers(2**31))))
    return plan


def _sentence(words: Sequence[str], rng: np.random.Generator) -> str:
    return " ".join(str(word) for word in rng.choice(words, size=int(rng.integers(5, 10)), replace=False)) + "."


def _write(root: Path, keywords: Collection[str], hours: float, for_training: bool) -> None:
    plan = planned(vocabulary(keywords), hours, for_training)
    everything = [recording for of_split in plan.values() for recording in of_split]
    noises: dict[str, np.ndarray] = {}
    with ThreadPoolExecutor(2) as pool:
        for first in range(0, len(everything), AT_ONCE):
            some = everything[first : first + AT_ONCE]
            parts, rate = espeak.spoken([utterance for recording in some for utterance in recording.utterances])
            clean = list(pool.map(lambda part, rate=rate: of_unit_power(part, rate)[: 20 * RATE], parts))
            noises = noises or made_noises(np.random.default_rng(0), clean)
            of_each = [clean[number * UTTERANCES : (number + 1) * UTTERANCES] for number in range(len(some))]
            list(pool.map(lambda one, of, noises=noises: _make(root / one.name, of, noises, one.seed), some, of_each))
    for split, name in LISTS.items():  # what neither names is for training
        lines = "".join(f"{recording.name}\n" for recording in plan.get(split, ()))
        (root / name).write_text(lines, encoding="utf-8")
    note = f"Synthesised by hpcnas with eSpeak NG, version {VERSION}, without: {', '.join(sorted(keywords))}.\n"
    (root / "README.txt").write_text(note, encoding="utf-8")


def _make(path: Path, waveforms: Sequence[np.ndarray], noises: Mapping[str, np.ndarray], seed: int) -> None:
    """Sentences with pauses, in one noise at one level."""
    rng, length = np.random.default_rng(seed), round(RECORDING_S * RATE)
    pieces: list[np.ndarray] = []
    while sum(map(len, pieces)) < length and len(pieces) < 2 * len(waveforms):
        pieces += [np.zeros(round(rng.uniform(*PAUSE_S) * RATE), np.float32), waveforms[len(pieces) // 2]]
    noise = noises[str(rng.choice(list(noises)))]
    noise = np.resize(np.roll(noise, int(rng.integers(len(noise)))), length).astype(np.float32)
    mixed = fitted(np.concatenate(pieces), length) + noise * np.float32(10 ** (-rng.uniform(*SNR_DB) / 20))
    path.parent.mkdir(exist_ok=True)
    # 8 bits of a logarithmic scale: half the disk, and far below the noise.
    soundfile.write(path, mixed / np.abs(mixed).max() * rng.uniform(0.1, 0.9), RATE, subtype="ULAW")
