"""Names of languages: as a model, or a caller, may say them, and as a model is told."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from config.says import primary

NAMES: dict[str, tuple[str, ...]] = {
    "ar": ("Arabic", "árabe", "العربية"),
    "bg": ("Bulgarian", "búlgaro", "български"),
    "ca": ("Catalan", "catalán", "català"),
    "cmn": ("Mandarin", "mandarín", "普通话"),
    "cs": ("Czech", "checo", "čeština"),
    "da": ("Danish", "danés", "dansk"),
    "de": ("German", "alemán", "Deutsch"),
    "el": ("Greek", "griego", "ελληνικά"),
    "en": ("English", "inglés", "English"),
    "es": ("Spanish", "español", "español", "castellano"),
    "et": ("Estonian", "estonio", "eesti"),
    "eu": ("Basque", "vasco", "euskara"),
    "fi": ("Finnish", "finés", "suomi"),
    "fil": ("Filipino", "filipino", "Filipino", "Tagalog"),
    "fr": ("French", "francés", "français"),
    "gl": ("Galician", "gallego", "galego"),
    "he": ("Hebrew", "hebreo", "עברית"),
    "hi": ("Hindi", "hindi", "हिन्दी"),
    "hr": ("Croatian", "croata", "hrvatski"),
    "hu": ("Hungarian", "húngaro", "magyar"),
    "id": ("Indonesian", "indonesio", "Bahasa Indonesia"),
    "is": ("Icelandic", "islandés", "íslenska"),
    "it": ("Italian", "italiano", "italiano"),
    "ja": ("Japanese", "japonés", "日本語"),
    "ko": ("Korean", "coreano", "한국어"),
    "lt": ("Lithuanian", "lituano", "lietuvių"),
    "lv": ("Latvian", "letón", "latviešu"),
    "ms": ("Malay", "malayo", "Bahasa Melayu"),
    "nb": ("Norwegian", "noruego", "norsk", "bokmål"),
    "nl": ("Dutch", "neerlandés", "Nederlands", "holandés"),
    "no": ("Norwegian", "noruego", "norsk"),
    "pl": ("Polish", "polaco", "polski"),
    "pt": ("Portuguese", "portugués", "português"),
    "ro": ("Romanian", "rumano", "română"),
    "ru": ("Russian", "ruso", "русский"),
    "sk": ("Slovak", "eslovaco", "slovenčina"),
    "sl": ("Slovenian", "esloveno", "slovenščina"),
    "sr": ("Serbian", "serbio", "српски"),
    "sv": ("Swedish", "sueco", "svenska"),
    "th": ("Thai", "tailandés", "ไทย"),
    "tr": ("Turkish", "turco", "Türkçe"),
    "uk": ("Ukrainian", "ucraniano", "українська"),
    "vi": ("Vietnamese", "vietnamita", "Tiếng Việt"),
    "yue": ("Cantonese", "cantonés", "廣東話"),
    "zh": ("Chinese", "chino", "中文"),
}
"""In English, in Spanish, in the language itself and otherwise, by primary tag."""


def language_name(tag: str) -> str:
    """``es-US`` -> ``Spanish (es-US)``; the tag alone where nobody has named the language here."""
    names = NAMES.get(primary(tag))
    return f"{names[0]} ({tag})" if names else tag


def find_language(said: str, tags: Sequence[str]) -> str:
    """The one of these tags that is meant by a tag or a name, "" for none. Of several for one language the first."""
    wanted = _plain(said)
    for tag in tags:
        if _plain(tag) == wanted:
            return tag
    return next((tag for tag in tags if wanted and wanted in (primary(tag), *map(_plain, _names(tag)))), "") or next(
        (tag for tag in tags if "-" in wanted and primary(tag) == primary(wanted)), ""
    )


def _names(tag: str) -> tuple[str, ...]:
    return NAMES.get(primary(tag), ())


def _plain(name: str) -> str:
    """Without case, accents and the space around: a model that writes down what it heard leaves out one or another."""
    decomposed = unicodedata.normalize("NFKD", name.strip().replace("_", "-").casefold())
    return "".join(each for each in decomposed if not unicodedata.combining(each))
