"""URLs that came from outside: where they may lead, how much may come of it, and what is told of them."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.warm import make_certificate
from channels.outgoing import Fetched, Outgoing, Wanted, is_allowed
from relay.errors import ChannelError, ChannelRejected, ChannelUnavailable
from tests.fakes.media_server import PICTURE, Names, Vendor, vendor

HOSTS = ("media.vendor.example", "*.cdn.example")
WANTED = Wanted(hosts=HOSTS, types=("image/jpeg", "audio/*"), size=1000, deadline=5)
SECRET = "token-31337"


@pytest.fixture
async def own() -> AsyncIterator[tuple[Vendor, Outgoing]]:
    """A vendor on this machine that the settings name, and a client that knows it as the vendor's own."""
    async with vendor() as there:
        outgoing = Outgoing([f"{there.url}/v1"], resolver=Names())
        yield there, outgoing
        there.held.set()
        await outgoing.close()


@dataclass
class Outside:
    """Two hosts of the internet, both this machine in truth, which is asked by TLS; and ``private``, which the settings
    name."""

    there: Vendor
    private: Vendor
    outgoing: Outgoing


@pytest.fixture
async def outside(tmp_path: Path) -> AsyncIterator[Outside]:
    if shutil.which("openssl") is None:
        pytest.skip("openssl makes the certificate")
    make_certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")
    trusting = ssl.create_default_context(cafile=str(tmp_path / "cert.pem"))
    trusting.check_hostname = False  # the certificate is the address's
    async with vendor(tls) as there, vendor() as private:
        here = [["127.0.0.1"]]
        names = Names({"media.vendor.example": here, "a.cdn.example": here}, there.port)
        outgoing = Outgoing([private.url], resolver=names, context=trusting, connectable=lambda address: True)
        yield Outside(there, private, outgoing)
        there.held.set()
        await outgoing.close()


async def refused(outgoing: Outgoing, url: str, wanted: Wanted = WANTED) -> ChannelError:
    """The error, of which neither the words nor the causes tell anything of the URL."""
    with pytest.raises(ChannelError) as caught:
        await outgoing.fetch(url, wanted)
    error = caught.value
    told = f"{error} {error!r} {error.__cause__!r} {error.vendor_code}"
    assert error.__suppress_context__ or error.__context__ is None
    assert SECRET not in told and "example" not in told and "127.0.0.1" not in told
    return error


# -- where a URL may lead


async def test_a_vendors_own_host_is_fetched(own: tuple[Vendor, Outgoing]) -> None:
    """What the settings name may be http and on this machine; the content comes with its type, in lower case."""
    there, outgoing = own
    assert await outgoing.fetch(f"{there.url}/picture", WANTED) == Fetched(PICTURE, "image/jpeg")
    assert await outgoing.fetch(f"{there.url}/voice", WANTED) == Fetched(b"ogg", "audio/ogg")


async def test_an_allowed_host_is_fetched_by_tls(outside: Outside) -> None:
    """A host of the use's list is asked by https, credentials and all; the answer's type is checked."""
    found = await outside.outgoing.fetch("https://media.vendor.example/picture", WANTED, headers={"Authorization": "x"})
    assert found == Fetched(PICTURE, "image/jpeg")
    assert outside.there.seen[0][1]["Authorization"] == "x"
    assert await outside.outgoing.fetch("https://A.CDN.example/picture", WANTED) == found


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("media.vendor.example", True),
        ("MEDIA.vendor.example", True),
        ("a.cdn.example", True),
        ("a.b.cdn.example", True),
        ("vendor.example", False),
        ("a.media.vendor.example", False),
        ("media.vendor.example.evil.example", False),
        ("evilmedia.vendor.example", False),
        ("cdn.example", False),
        ("evilcdn.example", False),
        (".cdn.example", False),
        ("a..cdn.example", False),
        ("a.cdn.example.", False),
        ("a%2ecdn.example", False),
        ("evil.example#.cdn.example", False),
        ("evil.example\n.cdn.example", False),
        ("a.cdn.example\n", False),
        ("а.cdn.example", False),  # a Cyrillic letter
        ("*.cdn.example", False),
        ("", False),
        ("127.0.0.1", False),
        ("2130706433", False),
        ("[::1]", False),
    ],
)
def test_hosts_are_compared_whole(host: str, allowed: bool) -> None:
    """A name is one of the list, or ends in one below which all are allowed, at a dot; nothing else is close enough."""
    assert is_allowed(host, HOSTS) is allowed


def test_an_empty_list_allows_nothing() -> None:
    """Nor does a star without a name."""
    for hosts in ([], [""], ["*"], ["*."], ["."]):
        assert not is_allowed("media.vendor.example", hosts)
        assert not is_allowed("", hosts)


@pytest.mark.parametrize(
    ("url", "code"),
    [
        ("http://media.vendor.example/", "url"),
        ("https://media.vendor.example:8443/", "url"),
        ("ftp://media.vendor.example/", "url"),
        ("file:///etc/passwd", "url"),
        ("//media.vendor.example/", "url"),
        ("", "url"),
        ("https:///path", "url"),
        ("https://me:pass@media.vendor.example/", "url"),
        ("https://media.vendor.example@evil.example/", "url"),
        ("https://evil.example\\@media.vendor.example/", "url"),
        ("https://media.vendor.example\\.evil.example/", "url"),
        ("https://media.vendor.example/\r\nHost: evil.example", "url"),
        ("https://media.vendor.example/ a", "url"),
        ("https://media.vendor.example/\u2028", "url"),
        ("https://media.vendor.example:99999/", "url"),
        ("https://[media.vendor.example]/", "url"),
        ("https://media.vendor.example/" + "a" * 5000, "url"),
        ("https://evil.example/?media.vendor.example", "host"),
        ("https://media.vendor.example.evil.example/", "host"),
        ("https://evil.example#@media.vendor.example/", "host"),
        ("https://127.0.0.1/", "host"),
        ("https://2130706433/", "host"),
        ("https://0x7f000001/", "host"),
        ("https://0177.0.0.1/", "host"),
        ("https://127.1/", "host"),
        ("https://[::1]/", "host"),
        ("https://[::ffff:127.0.0.1]/", "host"),
        ("https://169.254.169.254/latest/meta-data", "host"),
        ("https://localhost/", "host"),
    ],
)
async def test_a_url_that_may_not_be_fetched(url: str, code: str, own: tuple[Vendor, Outgoing]) -> None:
    """What is not https to an allowed host is refused before any name is looked up, whatever tricks are in it."""
    there, outgoing = own
    error = await refused(outgoing, url)
    assert (type(error), error.vendor_code, error.undone) == (ChannelRejected, code, True)
    assert there.seen == []


@pytest.mark.parametrize(
    "address", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::1", "::ffff:10.0.0.1", "64:ff9b::a00:1"]
)
async def test_a_name_that_leads_into_a_private_network(address: str) -> None:
    """An allowed name is not connected to where its address is no public one."""
    names = Names({"media.vendor.example": [[address]]})
    outgoing = Outgoing(resolver=names)
    error = await refused(outgoing, "https://media.vendor.example/picture")
    assert (type(error), error.vendor_code) == (ChannelRejected, "address")
    assert names.asked == ["media.vendor.example"]
    await outgoing.close()


async def test_a_name_that_changes_its_mind() -> None:
    """There is one look-up for each connection, and what it finds is judged: a name cannot be public when it is looked
    at and private when it is connected to. Of several addresses only the public ones are used."""
    names = Names({"media.vendor.example": [["203.0.113.9", "127.0.0.1"], ["127.0.0.1"]]}, 1)
    tried: list[str] = []

    def connectable(address: str) -> bool:
        tried.append(address)
        return False

    outgoing = Outgoing(resolver=names, connectable=connectable)
    for _ in range(2):
        assert (await refused(outgoing, "https://media.vendor.example/picture")).vendor_code == "address"
    assert tried == ["203.0.113.9", "127.0.0.1", "127.0.0.1"]
    await outgoing.close()


async def test_a_host_that_is_not_there(own: tuple[Vendor, Outgoing]) -> None:
    """A look-up that fails, and a connection that is refused, may work later."""
    error = await refused(own[1], "https://media.vendor.example/")
    assert (type(error), error.vendor_code) == (ChannelUnavailable, "")
    outgoing = Outgoing(["http://127.0.0.1:1"], resolver=Names())
    assert type(await refused(outgoing, "http://127.0.0.1:1/picture")) is ChannelUnavailable
    await outgoing.close()


async def test_another_port_of_an_own_host_is_not_its_own(own: tuple[Vendor, Outgoing]) -> None:
    """The vendor's own is the address of the settings, port and scheme included: Redis beside it is not."""
    there, outgoing = own
    for url in (f"http://127.0.0.1:{there.port + 1}/picture", f"https://127.0.0.1:{there.port}/picture"):
        assert (await refused(outgoing, url)).vendor_code == "url"


# -- redirects


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_followed(status: int, own: tuple[Vendor, Outgoing]) -> None:
    """At most as many as the use allows, relative ones too."""
    there, outgoing = own
    twice = f"/to?status={status}&url=/to?url={there.url}/picture"
    assert (await outgoing.fetch(there.url + twice, WANTED)).content == PICTURE
    error = await refused(outgoing, there.url + twice, replace(WANTED, redirects=1))
    assert (type(error), error.vendor_code) == (ChannelRejected, "redirects")
    assert (await refused(outgoing, f"{there.url}/to?url=/to", replace(WANTED, redirects=0))).vendor_code == "redirects"


@pytest.mark.parametrize(
    ("location", "code"),
    [
        ("https://evil.example/picture", "host"),
        ("http://media.vendor.example/picture", "url"),
        ("https://127.0.0.1/picture", "host"),
        ("file:///etc/passwd", "url"),
        ("https://media.vendor.example:6379/", "url"),
        ("http://[", "url"),
    ],
)
async def test_each_redirect_is_judged(location: str, code: str, own: tuple[Vendor, Outgoing]) -> None:
    """A redirect leads nowhere a URL may not lead."""
    there, outgoing = own
    assert (await refused(outgoing, f"{there.url}/to?url={location}")).vendor_code == code


async def test_nobody_is_sent_to_an_own_host(outside: Outside) -> None:
    """A host of the internet cannot send us to one that may be private, though the settings name it."""
    private = outside.private
    assert (await outside.outgoing.fetch(f"{private.url}/picture", WANTED)).content == PICTURE
    error = await refused(outside.outgoing, f"https://media.vendor.example/to?url={private.url}/picture")
    assert (error.vendor_code, len(private.seen)) == ("url", 1)


async def test_credentials_stay_with_the_first_host(outside: Outside) -> None:
    """They are sent again to the same host, not to another, and not to the first one once another was asked; no cookie
    is kept."""
    back = "https://media.vendor.example/picture"
    away = f"https://a.cdn.example/to?url={back}"
    begin = f"https://media.vendor.example/to?url=https://media.vendor.example/to?url={away}"
    found = await outside.outgoing.fetch(begin, WANTED, headers={"Authorization": SECRET})
    assert found.content == PICTURE
    sent = [(headers["Host"], headers.get("Authorization")) for _, headers in outside.there.seen]
    first, other = "media.vendor.example", "a.cdn.example"
    assert sent == [(first, SECRET), (first, SECRET), (other, None), (first, None)]
    await outside.outgoing.fetch(back, WANTED)
    assert "Cookie" not in outside.there.seen[-1][1]


async def test_a_signed_url_is_asked_for_as_it_is(own: tuple[Vendor, Outgoing]) -> None:
    """Nothing of the path or the query is written anew, which would break a signature over them."""
    there, outgoing = own
    query = "/picture?sig=a%2Bb%2f%7E+c%20d&x=%41&y=[]"
    await outgoing.fetch(there.url + query, WANTED)
    assert there.seen[0][0] == query


# -- what may come of it


@pytest.mark.parametrize("path", ["announced", "streamed", "packed"])
async def test_the_size_is_limited(path: str, own: tuple[Vendor, Outgoing]) -> None:
    """As announced, as it comes, and unpacked: exactly the limit is taken, and one byte more is not."""
    there, outgoing = own
    assert len((await outgoing.fetch(f"{there.url}/{path}/1000", WANTED)).content) == 1000
    error = await refused(outgoing, f"{there.url}/{path}/1001")
    assert (type(error), error.vendor_code) == (ChannelRejected, "size")


async def test_a_bomb_is_not_unpacked(own: tuple[Vendor, Outgoing]) -> None:
    """Of 50 MB that arrive in 50 KB no more is unpacked than is needed to see that it is too much."""
    there, outgoing = own
    given: list[int] = []

    async def sink(chunk: bytes) -> None:
        given.append(len(chunk))

    with pytest.raises(ChannelRejected):
        await outgoing.stream(f"{there.url}/packed/50000000", replace(WANTED, size=200_000), sink)
    assert sum(given) <= 200_000
    assert there.seen[0][1]["Accept-Encoding"] == "identity"


async def test_only_types_that_are_wanted(own: tuple[Vendor, Outgoing]) -> None:
    """A page is no picture, and what has no type is neither."""
    there, outgoing = own
    assert (await refused(outgoing, f"{there.url}/page")).vendor_code == "type"

    async def untyped(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nx")
        writer.close()

    async with await asyncio.start_server(untyped, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        outgoing = Outgoing([url], resolver=Names())
        anything = replace(WANTED, types=("application/octet-stream", "image/*"))
        assert (await refused(outgoing, url, anything)).vendor_code == "type"
        await outgoing.close()


@pytest.mark.parametrize(
    ("path", "kind", "status"),
    [
        ("status/404", ChannelRejected, 404),
        ("status/401", ChannelRejected, 401),
        ("status/204", ChannelRejected, 204),
        ("nowhere", ChannelRejected, 302),
        ("status/429", ChannelUnavailable, 429),
        ("status/408", ChannelUnavailable, 408),
        ("status/503", ChannelUnavailable, 503),
        ("broken", ChannelUnavailable, 0),
        ("badly-packed", ChannelUnavailable, 0),
        ("half-packed", ChannelUnavailable, 0),
    ],
)
async def test_what_did_not_come(
    path: str, kind: type[ChannelError], status: int, own: tuple[Vendor, Outgoing]
) -> None:
    """An answer that will stay the same is told from one that may be better later."""
    there, outgoing = own
    error = await refused(outgoing, f"{there.url}/{path}?{SECRET}")
    assert (type(error), error.status) == (kind, status)


async def test_a_deadline_for_all_of_it(own: tuple[Vendor, Outgoing]) -> None:
    """A host that does not answer is given up."""
    there, outgoing = own
    error = await refused(outgoing, f"{there.url}/held", replace(WANTED, deadline=0.1))
    assert type(error) is ChannelUnavailable


async def test_few_at_once() -> None:
    """No more than so many fetches are under way; another waits, and its deadline counts the wait."""
    async with vendor() as there:
        outgoing = Outgoing([there.url], at_once=2, resolver=Names())
        url = f"{there.url}/held"
        running = [asyncio.create_task(outgoing.fetch(url, WANTED)) for _ in range(2)]
        async with asyncio.timeout(20):
            while there.waiting < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        assert type(await refused(outgoing, url, replace(WANTED, deadline=0.1))) is ChannelUnavailable
        assert there.waiting == 2
        there.held.set()
        assert [each.content for each in await asyncio.gather(*running)] == [PICTURE] * 2
        assert (await outgoing.fetch(url, WANTED)).content == PICTURE
        await outgoing.close()


async def test_what_the_sink_raises_is_its_own(own: tuple[Vendor, Outgoing]) -> None:
    """A disk that is full is no fault of the vendor's; a cancel is not swallowed, and leaves nothing running."""
    there, outgoing = own

    async def full(chunk: bytes) -> None:
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        await outgoing.stream(f"{there.url}/picture", WANTED, full)
    before = asyncio.all_tasks()
    fetching = asyncio.create_task(outgoing.fetch(f"{there.url}/held", WANTED))
    async with asyncio.timeout(20):
        while not there.waiting:  # noqa: ASYNC110
            await asyncio.sleep(0.005)
    fetching.cancel()
    await asyncio.wait([fetching])
    assert fetching.cancelled()
    there.held.set()
    assert fetching not in asyncio.all_tasks() and before <= asyncio.all_tasks()


async def test_no_proxy_of_the_environment(own: tuple[Vendor, Outgoing], monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy would look names up itself, where nobody judges what it finds."""
    there, outgoing = own
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert (await outgoing.fetch(f"{there.url}/picture", WANTED)).content == PICTURE
