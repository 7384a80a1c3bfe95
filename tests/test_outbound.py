"""The guard of fetches, against real servers on loopback and answers of name servers by hand."""

from __future__ import annotations

import gzip
import ssl
import threading
import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import httpx2
import pytest

from aegis.config import load_settings
from aegis.errors import (
    AegisError,
    ConfigError,
    InvalidInput,
    LimitExceeded,
    PermissionDenied,
    Unavailable,
)
from aegis.outbound import (
    Allowed,
    check_url,
    checked_addresses,
    guarded_client,
    may_reach,
    read_body,
)

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence
    from pathlib import Path


@dataclass(slots=True)
class Site:
    """A server on 127.0.0.1 and what it was asked."""

    port: int = 0
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b"hello"
    hosts: list[str] = field(default_factory=list)
    names: list[str | None] = field(default_factory=list)


@contextmanager
def serving(site: Site, *, tls: ssl.SSLContext | None = None) -> Generator[Site]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            site.hosts.append(self.headers["Host"])
            self.send_response(site.status)
            for name, value in {"Content-Length": str(len(site.body)), **site.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(site.body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        tls.sni_callback = lambda _socket, name, _context: site.names.append(name)
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    site.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def site() -> Iterator[Site]:
    with serving(Site()) as running:
        yield running


class Names:
    """A name server whose answers change with each question."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, _port: int) -> Sequence[str]:
        self.asked.append(host)
        return self._answers[min(len(self.asked), len(self._answers)) - 1]


def client(names: Names | None = None, *, allow: str | None = None, **kwargs: Any) -> Any:
    settings = load_settings({}, outbound_allow=allow)
    return guarded_client(settings, timeout_s=5, resolve=names, **kwargs)


async def fetch(url: str, *args: Any, **kwargs: Any) -> httpx2.Response:
    async with client(*args, **kwargs) as asking:
        return await asking.get(url)


PRIVATE = [
    *("127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1"),
    *("169.254.169.254", "100.64.0.1", "100.100.100.200", "168.63.129.16", "192.0.0.192"),
    *("224.0.0.1", "240.0.0.1", "255.255.255.255", "192.0.2.1", "192.88.99.1", "198.18.0.1"),
    *("::1", "::", "fe80::1", "fe80::1%eth0", "fc00::1", "fd00:ec2::254", "ff02::1", "2001:db8::1"),
    *("::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::10.0.0.1"),
    *("2002:7f00:1::1", "2001:0:7f00:1::", "2606:4700::5efe:10.0.0.1", "not an address", ""),
]


@pytest.mark.parametrize("address", PRIVATE)
def test_no_address_beyond_the_public_internet_is_reached(address: str) -> None:
    assert not may_reach(address)


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "2606:4700::1111", "::ffff:8.8.8.8", "64:ff9b::808:808"]
)
def test_public_addresses_are_reached(address: str) -> None:
    assert may_reach(address)


def test_metadata_is_allowed_by_its_own_address_alone() -> None:
    assert not may_reach("169.254.169.254", Allowed.parse("0.0.0.0/0"))
    assert may_reach("169.254.169.254", Allowed.parse("169.254.169.254"))
    assert may_reach("169.254.1.1", Allowed.parse("0.0.0.0/0"))


@pytest.mark.parametrize("text", ["10.0.0.1/8", "10.0.0.0/33", "a b", "-/-"])
def test_a_setting_that_allows_nothing_sensible_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match="AEGIS_OUTBOUND_ALLOW"):
        Allowed.parse(text)


def test_a_wrong_network_is_found_when_settings_are_read() -> None:
    with pytest.raises(ConfigError, match=r"10\.0\.0\.1/8"):
        load_settings({"AEGIS_OUTBOUND_ALLOW": "wiki.example.com, 10.0.0.1/8"})


@pytest.mark.parametrize(
    "url",
    [
        *("file:///etc/passwd", "ftp://example.com/", "gopher://example.com/", "//example.com/"),
        *("http://", "http:///path", "http://user:secret@example.com/", "http://exa mple.com:x/"),
        *("javascript:alert(1)", "http://[::1", "http://example.com:99999/", ""),
    ],
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_url(url)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "127.1", "2130706433", "0x7f.1", "[::1]", "[::ffff:7f00:1]"]
)
async def test_loopback_is_refused_however_it_is_written(site: Site, host: str) -> None:
    with pytest.raises((PermissionDenied, Unavailable)):
        await fetch(f"http://{host}:{site.port}/")
    assert site.hosts == []


async def test_a_name_that_resolves_to_loopback_is_refused(site: Site) -> None:
    with pytest.raises(PermissionDenied, match="AEGIS_OUTBOUND_ALLOW") as caught:
        await fetch(f"http://public.example:{site.port}/", Names(["127.0.0.1"]))
    assert caught.value.code == "outbound_refused"
    assert site.hosts == []


async def test_one_private_answer_among_public_ones_refuses_the_name() -> None:
    with pytest.raises(PermissionDenied):
        await checked_addresses("h.example", 80, resolve=Names(["8.8.8.8", "10.0.0.1"]))
    assert await checked_addresses("h.example", 80, resolve=Names(["8.8.8.8"])) == ["8.8.8.8"]


async def test_the_name_is_resolved_once_and_stays_in_the_host_header(site: Site) -> None:
    names = Names(["127.0.0.1"], ["10.9.9.9"])
    answer = await fetch(f"http://Public.example:{site.port}/", names, allow="127.0.0.0/8")
    assert answer.text == "hello"
    assert site.hosts == [f"public.example:{site.port}"]
    assert len(names.asked) == 1


async def test_an_allowed_host_may_be_private_but_no_other(site: Site) -> None:
    answer = await fetch(f"http://wiki:{site.port}/", Names(["127.0.0.1"]), allow="wiki,10.0.0.0/8")
    assert answer.status_code == 200
    with pytest.raises(PermissionDenied):
        await fetch(f"http://wiki.evil:{site.port}/", Names(["127.0.0.1"]), allow="wiki")
    with pytest.raises(PermissionDenied):
        await fetch("http://wiki/", Names(["169.254.169.254"]), allow="wiki")


@pytest.mark.parametrize(
    "target", ["http://127.0.0.2:{port}/", "http://other.example:{port}/", "file:///etc/passwd"]
)
async def test_a_redirect_is_checked_as_the_first_address_is(site: Site, target: str) -> None:
    site.status, site.headers = 302, {"Location": target.format(port=site.port)}
    names = Names(["127.0.0.1"], ["127.0.0.2"])
    with pytest.raises((AegisError, httpx2.UnsupportedProtocol)):
        await fetch(
            f"http://first.example:{site.port}/",
            names,
            allow="127.0.0.1/32",
            follow_redirects=True,
        )
    assert len(site.hosts) == 1


async def test_sni_and_certificate_are_those_of_the_name(tmp_path: Path) -> None:
    from tests.certificates import self_signed

    certificate = self_signed(tmp_path, "public.example")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    with serving(Site(), tls=context) as site:
        url = f"https://public.example:{site.port}/"
        names = Names(["127.0.0.1"])
        answer = await fetch(url, names, allow="127.0.0.1", verify=trusting)
        assert (answer.text, site.names) == ("hello", ["public.example"])
        with pytest.raises(httpx2.ConnectError):
            await fetch(
                f"https://other.example:{site.port}/", names, allow="127.0.0.1", verify=trusting
            )


async def test_a_proxy_of_the_environment_is_not_used(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{site.port}")
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{site.port}")
    with pytest.raises(PermissionDenied):
        await fetch("http://public.example/", Names(["10.0.0.1"]))
    assert site.hosts == []


async def test_a_name_without_addresses_may_be_tried_again() -> None:
    with pytest.raises(Unavailable) as caught:
        await fetch("http://nowhere.example/", Names([]))
    assert caught.value.code == "outbound_name"


async def body_of(site: Site, most: int) -> bytes:
    async with (
        client(allow="127.0.0.1") as asking,
        asking.stream("GET", f"http://127.0.0.1:{site.port}/") as answer,
    ):
        return await read_body(answer, most)


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(body) + packer.flush()


@pytest.mark.parametrize(
    ("encoding", "pack"),
    [
        ("identity", bytes),
        ("gzip", gzip.compress),
        ("deflate", zlib.compress),
        ("deflate", raw_deflate),
    ],
)
async def test_bodies_are_unpacked_up_to_the_limit(site: Site, encoding: str, pack: Any) -> None:
    plain = b"".join(b"%d " % n for n in range(40_000))
    site.body, site.headers = pack(plain), {"Content-Encoding": encoding}
    assert await body_of(site, len(plain)) == plain
    with pytest.raises(LimitExceeded):
        await body_of(site, len(plain) - 1)


async def test_a_small_body_that_unpacks_to_much_is_cut_early(site: Site) -> None:
    site.body = gzip.compress(bytes(200 * 2**20), 9)
    site.headers = {"Content-Encoding": "gzip"}
    with pytest.raises(LimitExceeded):
        await body_of(site, 1_000_000)


@pytest.mark.parametrize(
    ("body", "encoding"),
    [(gzip.compress(b"x" * 999)[:-9], "gzip"), (b"no gzip", "gzip"), (b"", "br"), (b"?", "zstd")],
    ids=["cut", "other", "br", "zstd"],
)
async def test_bodies_that_cannot_be_unpacked_are_refused(
    site: Site, body: bytes, encoding: str
) -> None:
    site.body, site.headers = body, {"Content-Encoding": encoding}
    with pytest.raises(Unavailable) as caught:
        await body_of(site, 10_000)
    assert caught.value.code == "outbound_body"
