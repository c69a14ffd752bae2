"""Built-in speech in eight languages, synthesised on first use, in folders as VoxLingua107 has them.

Sequences of common words and numbers, spoken by eSpeak NG in many voices, speeds and pitches, in noise. Voices and sequences
are disjoint between train, validation and test. It tells search strategies apart; models of it are of no use on real speech.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hpcnas.data import language_folders
from hpcnas.data.cache import cache_folder
from hpcnas.data.corpus import SPLITS, CorpusIndex, DataConfig
from hpcnas.data.speech_maker import VOICES, Planned, Utterance, made_once, write_corpus

logger = logging.getLogger(__name__)

PADDING_COUNTS = language_folders.PADDING_COUNTS
says_splits = language_folders.says_splits
VERSION = 1
"""Raised when the same seed gives another corpus."""
LENGTH_S = 4.0
SNR_DB = (-3.0, 15.0)

WORDS = {
    "de": """und aber weil morgen gestern heute Haus Straße Wasser schön groß klein gehen sprechen machen können müssen zwischen
        Freund Familie Arbeit Schule Fenster Garten Licht Zeit Woche Abend Brot trinken schreiben lesen niemals vielleicht immer
        Kirche Zug Bahnhof durch gegen über Mädchen Junge Vogel Himmel""",
    "en-us": """and but because tomorrow yesterday today house street water beautiful large little walking speaking making could
        should between friend family work school window garden light time week evening bread drinking writing reading never
        perhaps always church train station through against above girl boy bird weather""",
    "es": """y pero porque mañana ayer hoy casa calle agua hermoso grande pequeño caminar hablar hacer poder deber entre amigo
        familia trabajo escuela ventana jardín luz tiempo semana noche pan beber escribir leer nunca quizás siempre iglesia tren
        estación por contra sobre muchacha niño pájaro cielo""",
    "fr": """et mais parce demain hier aujourd'hui maison rue eau beau grand petit marcher parler faire pouvoir devoir entre ami
        famille travail école fenêtre jardin lumière temps semaine soir pain boire écrire lire jamais peut-être toujours église
        train gare par contre dessus fille garçon oiseau ciel""",
    "it": """e ma perché domani ieri oggi casa strada acqua bello grande piccolo camminare parlare fare potere dovere tra amico
        famiglia lavoro scuola finestra giardino luce tempo settimana sera pane bere scrivere leggere mai forse sempre chiesa
        treno stazione per contro sopra ragazza bambino uccello cielo""",
    "pl": """i ale ponieważ jutro wczoraj dzisiaj dom ulica woda piękny duży mały chodzić mówić robić móc musieć między
        przyjaciel rodzina praca szkoła okno ogród światło czas tydzień wieczór chleb pić pisać czytać nigdy może zawsze kościół
        pociąg dworzec przez przeciw nad dziewczyna chłopiec ptak niebo""",
    "ru": """и но потому завтра вчера сегодня дом улица вода красивый большой маленький ходить говорить делать мочь должен между
        друг семья работа школа окно сад свет время неделя вечер хлеб пить писать читать никогда возможно всегда церковь поезд
        вокзал через против над девочка мальчик птица небо""",
    "tr": """ve ama çünkü yarın dün bugün ev sokak su güzel büyük küçük yürümek konuşmak yapmak gitmek arasında arkadaş aile iş
        okul pencere bahçe ışık zaman hafta akşam ekmek içmek yazmak okumak asla belki her zaman cami tren istasyon için karşı
        üzerinde kız çocuk kuş gökyüzü""",
}
"""Voices of eSpeak NG, with common words of their languages."""


@dataclass(frozen=True)
class Size:
    """Recordings per language in train, validation and test."""

    recordings: tuple[int, int, int] = (240, 80, 80)


def index(config: DataConfig) -> CorpusIndex:
    """The built-in corpus, made first if need be; the same for everyone."""
    root = Path(config.path).expanduser() if config.path else cache_folder(config.cache) / f"builtin-lid-v{VERSION}"
    if not root.is_dir():
        logger.info("built-in languages: synthesising into %s, once", root)
        synthesise(root)
    return language_folders.index(replace(config, path=str(root)))


def synthesise(root: Path, size: Size = Size(), seed: int = 0) -> None:
    """Write the corpus to ``root``; raises DataError without eSpeak NG."""
    rng = np.random.default_rng(seed)
    plan, said = [], set()
    for split, count in zip(SPLITS, size.recordings):
        for language, words in WORDS.items():
            for take in range(count):
                while (text := _sentence(words.split(), rng)) in said:
                    pass
                said.add(text)
                voice = f"{language}+{rng.choice(VOICES[split])}"
                rate, pitch = int(rng.integers(120, 221)), int(rng.integers(15, 86))
                utterance: Utterance = {"text": text, "voice": voice, "rate": rate, "pitch": pitch}
                plan.append(Planned(split, f"{language}/{voice.replace('+', '-')}_nohash_{take}.wav", utterance))
    note = f"Synthesised by hpcnas with eSpeak NG, version {VERSION}, seed {seed}."
    made_once(root, lambda work: write_corpus(work, plan, LENGTH_S, SNR_DB, rng, note))


def _sentence(words: list[str], rng: np.random.Generator) -> str:
    """Random words, among them a number, which eSpeak NG reads out in the language."""
    chosen = [str(word) for word in rng.choice(words, size=int(rng.integers(6, 9)), replace=False)]
    chosen.insert(int(rng.integers(len(chosen))), str(rng.integers(2, 1000)))
    return " ".join(chosen)
