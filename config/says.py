"""The fixed words of an agent: what is said when no model has a part in it, by name and language."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

BUILT_IN: Mapping[str, Mapping[str, str]] = {
    # A turn failed; the caller is expected to go on.
    "apology": {
        "en": "I'm sorry, something went wrong on my side. Could you say that again, please?",
        "es": "Lo siento, algo ha fallado por mi parte. ¿Puede repetirlo, por favor?",
    },
    # The call cannot go on.
    "trouble": {
        "en": "I'm sorry, we are having technical trouble. Please call again later.",
        "es": "Lo siento, tenemos problemas técnicos. Por favor, llame más tarde.",
    },
    # The same, and a person takes over.
    "trouble_bridge": {
        "en": "I'm sorry, we are having technical trouble. I'm connecting you with a person.",
        "es": "Lo siento, tenemos problemas técnicos. Le comunico con una persona.",
    },
    # There is no room for another call.
    "busy": {
        "en": "I'm sorry, all our lines are busy. Please call again in a few minutes.",
        "es": "Lo siento, todas nuestras líneas están ocupadas. Por favor, llame de nuevo en unos minutos.",
    },
    # The person has called too often of late.
    "called_often": {
        "en": "Thank you for calling again. You have called several times within the hour, so please try again a "
        "little later. Goodbye.",
        "es": "Gracias por llamar de nuevo. Ha llamado varias veces en la última hora, así que inténtelo un poco más "
        "tarde, por favor. Adiós.",
    },
    # What may be spent on models in a day is spent, by this person or by all; said or written.
    "budget": {
        "en": "I'm sorry, that is all I can do for today. Please get in touch again tomorrow. Goodbye.",
        "es": "Lo siento, por hoy no puedo hacer nada más. Por favor, vuelva a ponerse en contacto mañana. Adiós.",
    },
    # The agent hangs up without words of its own.
    "goodbye": {"en": "Thank you for calling. Goodbye.", "es": "Gracias por llamar. Adiós."},
    # Before the call is handed over, to a person or to another session.
    "bridge": {"en": "One moment, please, I'm connecting you.", "es": "Un momento, por favor, le comunico."},
    # The process leaves: another one goes on with the call, which then goes on with what was being said.
    "moving": {
        "en": "There will be a short pause on the line. I'm still with you.",
        "es": "Habrá una breve pausa en la línea. Sigo con usted.",
    },
    # A session that broke is taken up again.
    "cut_off": {"en": "We were cut off. Please go on.", "es": "Se ha cortado la llamada. Continúe, por favor."},
    # A person was asked for and there is no number to reach one.
    "nobody": {
        "en": "I'm sorry, nobody can be reached right now. Please call again later.",
        "es": "Lo siento, ahora mismo no hay nadie disponible. Por favor, llame más tarde.",
    },
    # What a person hears before they take a call that the agent has not handed over itself.
    "whisper_trouble": {
        "en": "A call in which the voice agent has stopped working.",
        "es": "Una llamada en la que el agente de voz ha dejado de funcionar.",
    },
    "whisper_hours": {"en": "A call outside business hours.", "es": "Una llamada fuera del horario de atención."},
    # The call is recorded; said before the greeting.
    "recorded": {"en": "This call is recorded.", "es": "Esta llamada se graba."},
    # Neither side has said anything for a while; and when that did not help.
    "still_there": {"en": "Are you still there?", "es": "¿Sigue ahí?"},
    "silence_goodbye": {
        "en": "I can't hear you, so I'm ending the call. Please call again any time. Goodbye.",
        "es": "No le oigo, así que voy a terminar la llamada. Llame de nuevo cuando quiera. Adiós.",
    },
    # The call's time is nearly up; and when it is.
    "time_warning": {
        "en": "Just so you know, we don't have much time left on this call.",
        "es": "Le aviso de que ya no nos queda mucho tiempo en esta llamada.",
    },
    "time_up": {
        "en": "I'm sorry, our time is up and I have to end the call. Goodbye.",
        "es": "Lo siento, se nos ha acabado el tiempo y tengo que terminar la llamada. Adiós.",
    },
    # Something takes longer than the caller should wait in silence.
    "hold": {"en": "One moment, please.", "es": "Un momento, por favor."},
    # What the caller said was not understood.
    "repeat": {
        "en": "I'm sorry, I didn't catch that. Could you say it again?",
        "es": "Perdone, no le he entendido. ¿Puede repetirlo?",
    },
}
"""The lines every agent has, by name and primary language tag."""


FILLERS: Mapping[str, tuple[str, ...]] = {
    "en": ("One moment.", "Let me see.", "Let me check.", "Just a second."),
    "es": ("Un momento.", "Déjeme ver.", "Lo compruebo.", "Un segundo."),
}
"""What is said while a tool takes its time, by primary language tag: each about a second of speech."""


def primary(lang: str) -> str:
    """``es-US`` -> ``es``."""
    return lang.replace("_", "-").partition("-")[0].casefold()


@dataclass(frozen=True, slots=True)
class Says:
    """``own``: an agent's lines by name and language tag (lower case); ``language``: the agent's. ``phrases``: its own
    fillers by language tag, none at all where all are empty; None for those built in."""

    language: str = "en-US"
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    phrases: Mapping[str, tuple[str, ...]] | None = None

    def line(self, name: str, lang: str = "") -> str:
        """The line in that language, else in the agent's, else in English; "" if the agent wants nothing said.

        A tag matches as a whole or by its primary part (``es-MX`` finds ``es-US``), and the agent's words win over
        those built in. Raises KeyError for a name that is not in ``BUILT_IN``.
        """
        return self._found(name, lang)[0]

    def line_language(self, name: str, lang: str = "") -> str:
        """Tag of the language ``line`` is in."""
        return self._found(name, lang)[1]

    def _found(self, name: str, lang: str) -> tuple[str, str]:
        own, built_in = self.own.get(name, {}), BUILT_IN[name]
        for tag in (lang, self.language, "en"):
            if (text := in_language(own, tag)) is not None:
                return text, tag
            if primary(tag) in built_in:
                return built_in[primary(tag)], tag
        raise AssertionError("every line exists in English")

    def fillers(self, lang: str = "") -> tuple[str, ...]:
        """Phrases for the time a tool takes, in that language and in no other: a filler may be left out."""
        if self.phrases is not None and not any(self.phrases.values()):
            return ()
        own = in_language(self.phrases or {}, lang or self.language)
        return FILLERS.get(primary(lang or self.language), ()) if own is None else own


T = TypeVar("T")


def in_language(texts: Mapping[str, T], tag: str) -> T | None:
    """What is given for this tag, or for another of the same language; tags are in lower case."""
    if tag.casefold() in texts:
        return texts[tag.casefold()]
    return next((text for known, text in texts.items() if primary(known) == primary(tag)), None)
