"""Downloads: a file from the net, proved by its sha256, whole or not at all.

Takes: a `RemoteFile` (name, addresses, size, sha256) and a folder. Gives: the file's path.
The one idea: write to a temporary name, check size and digest, and only then rename; whatever
fails, nothing is left behind, and the message says how to do it by hand.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import os
import secrets
import shutil
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Protocol

from chainrule.core.errors import ArgumentError, DataError

__all__ = ["RemoteFile", "download", "sha256_of"]

PIECE_BYTES = 1 << 18
# Seconds without a byte after which the connection counts as dead.
TIMEOUT = 30.0
_LOOPBACK = ("127.0.0.1", "localhost", "::1")
_USER_AGENT = "chainrule (+https://pypi.org/project/chainrule)"


@dataclass(frozen=True)
class RemoteFile:
    """A file on the net with its proof.

    Args:
        name: File name in the local folder.
        urls: Where it can be had, tried in order; https only.
        size: Its size in bytes.
        sha256: Its digest, 64 hexadecimal digits.
    """

    name: str
    urls: tuple[str, ...]
    size: int
    sha256: str


class Progress(Protocol):
    """What `download` tells: how many more bytes came, and that it is over."""

    def update(self, n: int, /) -> object:
        """Count ``n`` more bytes."""

    def close(self) -> object:
        """End the bar."""


def download(
    file: RemoteFile,
    folder: Path,
    *,
    url_base: str | None = None,
    timeout: float = TIMEOUT,
    progress: Callable[[str, int], Progress] | None = None,
) -> Path:
    """Fetch a file into a folder, unless it is there already with the right content.

    Args:
        file: What to fetch.
        folder: Where to put it; created if missing.
        url_base: Replaces everything before the file name in the addresses (a mirror).
        timeout: Seconds without a byte after which an address is given up.
        progress: Makes the progress bar from a title and the size; default: one on stderr.

    Returns:
        The path ``folder/file.name``.

    Raises:
        DataError: Every address failed, or the content is not the expected one. Nothing is
            left behind.
        ArgumentError: An address is neither https nor on this machine.
    """
    path = folder / file.name
    if path.is_file() and path.stat().st_size == file.size and sha256_of(path) == file.sha256:
        return path
    urls = file.urls if url_base is None else (f"{url_base.rstrip('/')}/{file.name}",)
    for url in urls:
        _check_address(url)
    _make_room(folder, file)
    failures = []
    for url in urls:
        try:
            _fetch(url, file, path, timeout, progress or _bar)
        except (OSError, http.client.HTTPException, _WrongContentError) as error:
            failures.append(f"{url}: {_reason(error, timeout)}")
        else:
            return path
    raise DataError(
        f"{path}: the download failed; nothing was left behind",
        hint=(
            f"try again later, or fetch {urls[0]} by hand and put it at {path} "
            f"(or set CHAINRULE_DATA to a folder that holds {folder.name}/{file.name})"
        ),
        context=failures,
    )


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class _WrongContentError(Exception):
    """The address answered with something else than the expected bytes."""


class _SafeRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirections only to addresses that could have been asked for directly."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: http.client.HTTPMessage,
        newurl: str,
    ) -> urllib.request.Request | None:
        try:
            _check_address(newurl)
        except ArgumentError as error:
            raise urllib.error.URLError(f"redirected to {newurl}, which is not https") from error
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _check_address(url: str) -> None:
    parts = urllib.parse.urlsplit(url)
    local = parts.scheme == "http" and parts.hostname in _LOOPBACK
    if not (local or (parts.scheme == "https" and parts.hostname)):
        raise ArgumentError(f"address {url!r}: only https:// is used for downloads")


def _make_room(folder: Path, file: RemoteFile) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be used for downloads: {error.strerror or error}",
            hint="set CHAINRULE_CACHE to a folder that can be written to",
        ) from error
    if free < file.size:
        raise DataError(
            f"{folder}: the disk is full: {file.name} needs {file.size:,} bytes, {free:,} are free",
            hint="free some space, or set CHAINRULE_CACHE to a folder on another disk",
        )


def _fetch(
    url: str,
    file: RemoteFile,
    path: Path,
    timeout: float,
    progress: Callable[[str, int], Progress],
) -> None:
    temporary = path.parent / f".{path.name}.{secrets.token_hex(6)}.part"
    handlers: list[urllib.request.BaseHandler] = [_SafeRedirects()]
    if urllib.parse.urlsplit(url).hostname in _LOOPBACK:
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy cannot reach this machine
    request = urllib.request.Request(url, headers={"User-Agent": _USER_AGENT})
    try:
        with (
            urllib.request.build_opener(*handlers).open(request, timeout=timeout) as answer,
            open(temporary, "xb") as target,
            contextlib.closing(progress(f"downloading {file.name}", file.size)) as bar,
        ):
            digest, count = hashlib.sha256(), 0
            for piece in _pieces(answer):
                count += len(piece)
                if count > file.size:
                    break
                digest.update(piece)
                target.write(piece)
                bar.update(len(piece))
            target.flush()
            os.fsync(target.fileno())
        _check_content(file, count, digest.hexdigest())
        os.replace(temporary, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()


def _pieces(answer: IO[bytes]) -> Iterator[bytes]:
    while piece := answer.read(PIECE_BYTES):
        yield piece


def _check_content(file: RemoteFile, count: int, digest: str) -> None:
    if count != file.size:
        came = "more" if count > file.size else f"{count:,}"
        raise _WrongContentError(f"{came} bytes came, expected {file.size:,}")
    if digest != file.sha256:
        raise _WrongContentError(f"the content has sha256 {digest}, expected {file.sha256}")


def _reason(error: Exception, timeout: float) -> str:
    if isinstance(error, urllib.error.HTTPError):
        return f"the server answered {error.code} {error.reason}"
    if isinstance(error, urllib.error.URLError):
        reason = error.reason
        return _reason(reason, timeout) if isinstance(reason, Exception) else str(reason)
    if isinstance(error, TimeoutError):
        return f"no answer within {timeout:g} s"
    if isinstance(error, http.client.IncompleteRead):
        return "the connection was closed too early"
    return str(error) or type(error).__name__


class _PlainBar:
    """A progress line on stderr for when tqdm is not installed: amount, rate, time left."""

    def __init__(self, title: str, total: int) -> None:
        self.title, self.total, self.count = title, total, 0
        self.start = self.shown = time.monotonic()
        self.live = sys.stderr.isatty()

    def update(self, n: int, /) -> None:
        """Count ``n`` more bytes and, on a terminal, redraw at most ten times a second."""
        self.count += n
        now = time.monotonic()
        if self.live and now - self.shown >= 0.1:
            self.shown = now
            print(f"\r{self._line(now)}\x1b[K", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Write the last line."""
        start = "\r" if self.live else ""
        end = "\x1b[K\n" if self.live else "\n"
        print(f"{start}{self._line(time.monotonic())}", end=end, file=sys.stderr, flush=True)

    def _line(self, now: float) -> str:
        rate = self.count / max(now - self.start, 1e-3)
        left = (self.total - self.count) / max(rate, 1.0)
        amount = f"{self.count / 1e6:.1f} of {self.total / 1e6:.1f} MB"
        return f"{self.title}: {amount}, {rate / 1e6:.1f} MB/s, {left:.0f} s left"


def _bar(title: str, total: int) -> Progress:
    try:
        from tqdm import tqdm
    except ImportError:
        return _PlainBar(title, total)
    bar: Progress = tqdm(desc=title, total=total, unit="B", unit_scale=True, file=sys.stderr)
    return bar
