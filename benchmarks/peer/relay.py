"""A voice relay written with twilio-agent-connect the way its documentation shows: streaming, ConversationRelay only.

Its streaming example, with what the comparison needs: the same instructions and the same tools as ours in the request
(``BENCH_REQUEST`` names the file they stand in), and histories dropped when calls end. Runs in an environment of its
own, so it imports nothing of the checkout but the leash. Usage reporting is off (``TAC_ANALYTICS_DISABLED``).
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

from openai import AsyncOpenAI
from tac import TAC, TACConfig
from tac.channels.voice import VoiceChannel
from tac.models.session import ConversationSession
from tac.models.tac import TACMemoryResponse
from tac.server import TACFastAPIServer

from benchmarks.leash import on_a_leash

REQUEST = json.loads(Path(os.environ["BENCH_REQUEST"]).read_text())

tac = TAC(config=TACConfig.from_env())
voice = VoiceChannel(tac)
client = AsyncOpenAI()
histories: dict[str, list[Any]] = {}


async def message_ready(said: str, context: ConversationSession, memory: TACMemoryResponse | None) -> None:
    call = context.conversation_id
    history = histories.setdefault(call, [{"role": "system", "content": REQUEST["instructions"]}])
    history.append({"role": "user", "content": said})
    messages = history[:]

    async def tokens() -> AsyncGenerator[str, None]:
        reply = []
        stream = await client.chat.completions.create(
            model="bench", messages=messages, tools=REQUEST["tools"], stream=True
        )
        async for chunk in stream:
            if chunk.choices and chunk.choices[0].delta.content:
                token = chunk.choices[0].delta.content
                reply.append(token)
                yield token
        history.append({"role": "assistant", "content": "".join(reply)})

    await voice.send_response(call, tokens())


async def conversation_ended(context: ConversationSession) -> None:
    histories.pop(context.conversation_id, None)


tac.on_message_ready(message_ready)
tac.on_conversation_ended(conversation_ended)

if __name__ == "__main__":
    on_a_leash()
    TACFastAPIServer(tac=tac, voice_channel=voice).start()
