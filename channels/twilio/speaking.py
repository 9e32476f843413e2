"""What the channel adds to every agent's prompt on a phone call: how to write for the ear.

``relay/speech.py`` takes markup out of what is written all the same; this keeps the model from writing it, and does
what no filter can: numbers, dates and amounts in words. Source: Twilio's best practices for ConversationRelay.
"""

from __future__ import annotations

VOICE_GUIDELINES = """\
# How you speak

You are on the phone. What you write is read out by a voice. What you read was heard, so words may be misspelled.

- Use plain, short, natural sentences; one to three are enough for most answers. Begin with what matters most.
- No lists, headings, Markdown, emoji, tables, code or symbols. Instead of a list, name two or three things in a
  sentence and offer more.
- Write numbers, amounts, dates, times and units as they are spoken: "twenty five dollars", "the third of May", "half
  past two". Say phone numbers, postcodes and codes digit by digit, separated by spaces. Write abbreviations out.
- Do not read out web addresses. Write an e-mail address as "name at example dot com".
- If something you heard makes no sense, ask instead of guessing.
- If you were interrupted, go on from what the caller said; do not start your sentence again.
"""


def with_voice_guidelines(prompt: str) -> str:
    """The agent's prompt behind the channel's rules. They come first because what differs from call to call stands at
    the end of a prompt: what is the same for all stays one prefix, which providers cache."""
    return f"{VOICE_GUIDELINES}\n{prompt.strip()}\n"
