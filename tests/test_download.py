"""Downloads from a server on this machine: whole or not at all, and what the messages say."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from chainrule.core.errors import ArgumentError, DataError
from chainrule.data import download as download_module
from chainrule.data.download import RemoteFile, download, sha256_of

CONTENT = bytes(range(256)) * 4000
FILE = RemoteFile(
    "data.bin", ("https://example.org/data.bin",), len(CONTENT), hashlib.sha256(CONTENT).hexdigest()
)
Answer = Callable[[http.server.BaseHTTPRequestHandler], None]


class Server:
    """A server on 127.0.0.1 whose answer to every request is one function."""

    def __init__(self) -> None:
        self.answer: Answer = whole
        self.requests = 0
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests += 1
                # The client hangs up, as it should, when too much comes.
                with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                    outer.answer(self)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing."""

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.thread = threading.Thread(target=self.http.serve_forever, daemon=True)
        self.thread.start()

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.http.server_address[1]}"


def send(handler: http.server.BaseHTTPRequestHandler, body: bytes, length: int | None) -> None:
    handler.send_response(200)
    if length is not None:
        handler.send_header("Content-Length", str(length))
    handler.end_headers()
    handler.wfile.write(body)


def whole(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT, len(CONTENT))


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.http.shutdown()
    running.http.server_close()
    running.thread.join()


class Bar:
    """Counts what a progress bar is told."""

    def __init__(self) -> None:
        self.total = self.count = 0
        self.closed = False

    def __call__(self, title: str, total: int) -> Bar:
        self.title, self.total = title, total
        return self

    def update(self, n: int, /) -> None:
        self.count += n

    def close(self) -> None:
        self.closed = True


def test_download_brings_the_file_and_shows_progress(tmp_path: Path, server: Server) -> None:
    bar = Bar()
    folder = tmp_path / "new" / "folder"
    path = download(FILE, folder, url_base=server.base, progress=bar)
    assert path.read_bytes() == CONTENT
    assert (bar.title, bar.total, bar.count) == ("downloading data.bin", len(CONTENT), len(CONTENT))
    assert bar.closed
    assert [p.name for p in folder.iterdir()] == ["data.bin"]


def test_right_file_is_not_fetched_again(tmp_path: Path, server: Server) -> None:
    for _ in range(2):
        download(FILE, tmp_path, url_base=server.base, progress=Bar())
    assert server.requests == 1
    (tmp_path / "data.bin").write_bytes(CONTENT[:-1] + b"?")
    download(FILE, tmp_path, url_base=server.base, progress=Bar())
    assert server.requests == 2
    assert sha256_of(tmp_path / "data.bin") == FILE.sha256


def wrong(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT[::-1], len(CONTENT))


def short(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT[:1000], 1000)


def cut(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT[:1000], len(CONTENT))


def endless(handler: http.server.BaseHTTPRequestHandler) -> None:
    send(handler, CONTENT, None)
    for _ in range(10_000):
        handler.wfile.write(CONTENT)


def absent(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_error(404)


def silent(handler: http.server.BaseHTTPRequestHandler) -> None:
    time.sleep(1.5)


def elsewhere(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "http://example.org/data.bin")
    handler.end_headers()


def local_file(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", "file:///etc/passwd")
    handler.end_headers()


def circle(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()


def garbage(handler: http.server.BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\0\1\2 this is no HTTP\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (wrong, "the content has sha256"),
        (short, "1,000 bytes came, expected 1,024,000"),
        (cut, "1,000 bytes came|closed too early"),
        (endless, "more bytes came, expected 1,024,000"),
        (absent, "the server answered 404 Not Found"),
        (silent, "no answer within 0.5 s"),
        (elsewhere, "redirected to http://example.org/data.bin, which is not https"),
        (local_file, "redirected to file:///etc/passwd|not allowed"),
        (circle, "the server answered 302|infinite loop"),
        (garbage, "data.bin: "),
    ],
)
def test_failed_download_leaves_nothing_and_says_what_to_do(
    tmp_path: Path, server: Server, answer: Answer, text: str
) -> None:
    server.answer = answer
    bar = Bar()
    with pytest.raises(DataError, match=text) as caught:
        download(FILE, tmp_path, url_base=server.base, timeout=0.5, progress=bar)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'data.bin'}: the download failed")
    assert f"fetch {server.base}/data.bin by hand and put it at {tmp_path / 'data.bin'}" in message
    assert "CHAINRULE_DATA" in message
    assert list(tmp_path.iterdir()) == []


def test_failed_download_keeps_what_was_there(tmp_path: Path, server: Server) -> None:
    server.answer = wrong
    (tmp_path / "data.bin").write_bytes(b"older")
    with pytest.raises(DataError):
        download(FILE, tmp_path, url_base=server.base, progress=Bar())
    assert (tmp_path / "data.bin").read_bytes() == b"older"


def test_interrupt_leaves_nothing(tmp_path: Path, server: Server) -> None:
    class Interrupting(Bar):
        def update(self, n: int, /) -> None:
            raise KeyboardInterrupt

    bar = Interrupting()
    with pytest.raises(KeyboardInterrupt):
        download(FILE, tmp_path, url_base=server.base, progress=bar)
    assert bar.closed
    assert list(tmp_path.iterdir()) == []


def test_second_address_is_tried(tmp_path: Path, server: Server) -> None:
    bad = Server()
    bad.answer = absent
    try:
        urls = (f"{bad.base}/data.bin", f"{server.base}/data.bin")
        file = RemoteFile("data.bin", urls, FILE.size, FILE.sha256)
        assert download(file, tmp_path, progress=Bar()).read_bytes() == CONTENT
    finally:
        bad.http.shutdown()
        bad.http.server_close()


@pytest.mark.parametrize(
    "url", ["http://example.org/x", "file:///etc/passwd", "ftp://example.org/x", "x", "https://"]
)
def test_only_https_is_asked(tmp_path: Path, url: str) -> None:
    with pytest.raises(ArgumentError, match="only https"):
        download(RemoteFile("x", (url,), 1, "0" * 64), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_server_that_is_not_there(tmp_path: Path) -> None:
    running = Server()
    base = running.base
    running.http.shutdown()
    running.http.server_close()
    with pytest.raises(DataError, match="refused"):
        download(FILE, tmp_path, url_base=base, progress=Bar())


def test_too_little_room_is_said_before_the_download(tmp_path: Path, server: Server) -> None:
    file = RemoteFile("data.bin", (), 10**18, FILE.sha256)
    with pytest.raises(DataError, match=r"the disk is full: data\.bin needs"):
        download(file, tmp_path, url_base=server.base)
    assert server.requests == 0


def test_folder_that_cannot_be_made_is_named(tmp_path: Path, server: Server) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DataError, match="cannot be used for downloads") as caught:
        download(FILE, tmp_path / "file" / "sub", url_base=server.base)
    assert "CHAINRULE_CACHE" in str(caught.value)


def test_plain_bar_tells_rate_and_time_left(capsys: pytest.CaptureFixture[str]) -> None:
    bar = download_module._PlainBar("downloading x", 2_000_000)
    bar.update(500_000)
    bar.close()
    line = capsys.readouterr().err
    assert line.startswith("downloading x: 0.5 of 2.0 MB, ")
    assert "MB/s" in line
    assert line.endswith("s left\n")


def test_every_named_file_has_a_proof_and_https_addresses() -> None:
    from chainrule.data import NAMED_SETS

    for entry in NAMED_SETS.values():
        for file in entry.files:
            assert len(file.sha256) == 64
            assert int(file.sha256, 16) > 0
            assert file.size > 0
            assert all(url.startswith("https://") and url.endswith(file.name) for url in file.urls)
