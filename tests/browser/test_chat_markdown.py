"""What the widget makes of the text of an answer: Markdown becomes elements, and nothing else does."""

from __future__ import annotations

import pytest
from playwright.async_api import expect

from tests.browser.chatting import said, write
from tests.browser.conftest import PATIENCE, Open
from tests.fakes.chat_server import Answer, chat_server

pytestmark = pytest.mark.asyncio(loop_scope="session")

LINK = '<a href="{}" target="_blank" rel="noopener noreferrer nofollow">'

WRITTEN = {
    # what is written for people
    "One\nline.\r\n\r\n\nTwo.": "<p>One\nline.</p><p>Two.</p>",
    "**bold** __bold__ *it* _it_ ***both***": "<p><strong>bold</strong> <strong>bold</strong> <em>it</em> <em>it</em> "
    "<strong><em>both</em></strong></p>",
    "snake_case_name, 2 * 3 * 4, 5*6, \\*not\\*": "<p>snake_case_name, 2 * 3 * 4, 5*6, *not*</p>",
    "`a * b` and ``x`y``": "<p><code>a * b</code> and <code>x`y</code></p>",
    "# Title\ntext\n### Part": "<h3>Title</h3><p>text</p><h3>Part</h3>",
    "Text:\n- one\n- **two**\n\n3. three\n4. four": "<p>Text:</p><ul><li><p>one</p></li>"
    '<li><p><strong>two</strong></p></li></ul><ol start="3"><li><p>three</p></li><li><p>four</p></li></ol>',
    "- a\n  - b\n    1. c\n- d": '<ul><li><p>a</p><ul><li><p>b</p><ol start="1"><li><p>c</p></li></ol></li></ul></li>'
    "<li><p>d</p></li></ul>",
    "1. Run:\n   ```sh\n   make\n   ```\n2. Look": '<ol start="1"><li><p>Run:</p>'
    '<pre tabindex="0"><code>make</code></pre></li><li><p>Look</p></li></ol>',
    "```py\nx = *a*\n\n<b>\n```\nafter": '<pre tabindex="0"><code>x = *a*\n\n&lt;b&gt;</code></pre><p>after</p>',
    "```\nnever closed": '<pre tabindex="0"><code>never closed</code></pre>',
    "[site](https://e.org/a_(b)) <https://e.org> https://e.org/x.": f"<p>{LINK.format('https://e.org/a_(b)')}site</a> "
    f"&lt;{LINK.format('https://e.org/')}https://e.org</a>&gt; {LINK.format('https://e.org/x')}https://e.org/x</a>.</p>",
    "[post](mailto:a@e.org) [call](tel:+15550100)": f"<p>{LINK.format('mailto:a@e.org')}post</a> "
    f"{LINK.format('tel:+15550100')}call</a></p>",
    # what is written against them
    "<script>alert(1)</script><img src=x onerror=alert(1)>": "<p>&lt;script&gt;alert(1)&lt;/script&gt;"
    "&lt;img src=x onerror=alert(1)&gt;</p>",
    "[a](javascript:alert(1)) [b](JaVaScRiPt:alert(1)) [c](data:text/html,x) [d](vbscript:x)": "<p>a b c d</p>",
    "[a](\tjavascript:alert(1)) [b](//evil.example) [c](/etc) [d](file:///etc)": "<p>[a](\tjavascript:alert(1)) "
    "b c d</p>",
    '[a](https://e.org/"onmouseover="alert(1))': f"<p>{LINK.format('https://e.org/%22onmouseover=%22alert(1)')}a</a></p>",
    "[<b>x</b>](https://e.org) [**y**](https://e.org)": f"<p>{LINK.format('https://e.org/')}&lt;b&gt;x&lt;/b&gt;</a> "
    f"{LINK.format('https://e.org/')}**y**</a></p>",
    "[https://e.org](https://e.org)": f"<p>{LINK.format('https://e.org/')}https://e.org</a></p>",
    "[[a](https://e.org)](javascript:x)": f"<p>[{LINK.format('https://e.org/')}a</a>](javascript:x)</p>",
    "![p](https://evil.example/track.png)": f"<p>!{LINK.format('https://evil.example/track.png')}p</a></p>",
    "```<img onerror=x>\n</code><script>\n```": '<pre tabindex="0"><code>&lt;/code&gt;&lt;script&gt;</code></pre>',
}
"""Each text, and the elements it becomes; ``dir`` is left out."""

DEEP = "\n".join(" " * depth + "- x" for depth in range(300))
LONG = 12_000
HUGE = [
    each * (LONG // len(each))
    for each in ("[", "[a](", "**a ", "*", "`", "_a ", "# ", "- a\n", "\\", "1. ", "```\n", " ")
]


async def test_an_answer_is_markdown_and_nothing_else(opened: Open) -> None:
    """No text makes a script, a picture, a handler or a link to anything but pages, mail and telephones; the page's
    policy, which forbids to parse markup, is never broken. What is huge or deep is shown, and soon."""
    texts = [*WRITTEN, DEEP, *HUGE]
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True) as page:
        chat.script(Answer(["[" * LONG, "**" * LONG, "end"]))
        await write(page, "Go on")
        answers = page.get_by_role("log").locator(".bubble:not(.user)")
        await expect(answers).to_have_count(1)
        (talk,) = chat.visitors.values()
        talk.messages += [{"role": "assistant", "text": text} for text in texts]
        await page.reload()
        await expect(answers).to_have_count(1 + len(texts), timeout=PATIENCE)
        found = await answers.evaluate_all("all => all.map((each) => each.innerHTML.replaceAll(' dir=\"auto\"', ''))")
        assert dict(zip(WRITTEN, found[1:], strict=False)) == WRITTEN
        assert await page.locator("script, img, iframe, style").count() == 1  # the script that the page itself has
        assert await page.locator("a a").count() == 0
        assert found[1 + len(WRITTEN)].count("x") == 300
        assert "[" * LONG in found[2 + len(WRITTEN)]


async def test_half_an_answer_shows_no_marks(opened: Open) -> None:
    """However a text is cut while it comes, what is open is shown as if it was closed; what did not change stays the
    element it is, so that nothing flickers and a selection holds."""
    text = "A **bold** and *soft* `code` [link](https://e.org/x) end.\n\n- **one**\n- two\n\n```py\nx = 1\n```\nLast"
    async with chat_server() as chat, opened(f"{chat.url}/chat", own=True) as page:
        chat.pace = 0.006
        chat.script(Answer(list(text)))
        await page.evaluate(
            """() => {
              window.seen = [];
              const root = document.querySelector("relay-chat").shadowRoot;
              const live = root.querySelector("[role=log]").nextSibling;
              new MutationObserver(() => {
                const bubble = live.firstChild;
                if (!bubble?.firstChild) return;
                seen.push(bubble.innerText);
                if (bubble.children.length > 1) {
                  window.kept ??= bubble.firstChild;
                  if (window.kept !== bubble.firstChild) window.kept = "replaced";
                }
              }).observe(live, { childList: true, subtree: true, characterData: true });
            }"""
        )
        await write(page, "Write")
        await expect(said(page)).to_have_count(2)
        seen: list[str] = await page.evaluate("seen")
        assert len(seen) > 5
        assert [each for each in seen if any(mark in each for mark in ("*", "[", "]", "](", "https"))] == []
        assert await page.evaluate("kept !== 'replaced'")
