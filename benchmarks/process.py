"""Processes of peers, seen from the one that measures.

Takes: a peer and a workload. Gives: a handle that asks, and waits until the peer is quiet.
The one idea: frameworks let their workers spin for a while after a step; the next peer's turn
begins when no thread of the last one uses the processor any more.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.peers import Peer
from benchmarks.workloads import Workload

ROOT = Path(__file__).parent.parent
# A process counts as quiet that used less than that share of the processor in a pause.
QUIET_SHARE, PAUSE, PATIENCE = 0.02, 0.02, 2.0


class PeerError(RuntimeError):
    """A peer's process ended, or could not begin."""


def environment(threads: int, cache: Path, peer: Peer) -> dict[str, str]:
    """Return the environment of a peer: so many threads, its cache in a folder of ours."""
    counts = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "CHAINRULE")
    made = {**os.environ, **{f"{name}_NUM_THREADS": str(threads) for name in counts}}
    paths = (str(ROOT), str(ROOT / "src"), made.get("PYTHONPATH", ""))
    made["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    made["JAX_PLATFORMS"] = "cpu"
    if peer.caches:
        made[peer.caches] = str(cache)
    return made


class PeerProcess:
    """A running peer."""

    def __init__(
        self, peer: Peer, workload: Workload, *, threads: int, cache: Path, mode: str = ""
    ) -> None:
        self.name = f"{peer.name} on {workload.name}"
        self.words = tempfile.TemporaryFile("w+")  # noqa: SIM115  # closed in `__exit__`
        command = [sys.executable, "-m", "benchmarks.child", peer.name, workload.name]
        self.process = subprocess.Popen(
            command + [mode] * bool(mode),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.words,
            text=True,
            cwd=ROOT,
            env=environment(threads, cache, peer),
        )
        # XLA and others count the processors that they may use.
        allowed = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(self.process.pid, allowed[:threads])
        self._answer()

    def ask(self, command: str, count: int | None = None) -> Any:
        """Send a command, wait for its answer, return it."""
        assert self.process.stdin is not None
        line = command if count is None else f"{command} {count}"
        try:
            print(line, file=self.process.stdin, flush=True)
        except BrokenPipeError:
            raise self._ended() from None
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise self._ended()
        return json.loads(line)

    def _ended(self) -> PeerError:
        self.words.seek(0)
        last = self.words.read().strip().splitlines()[-3:]
        return PeerError(f"{self.name}: {' / '.join(last) or 'ended without a word'}")

    def used(self) -> float:
        """Return the processor seconds that all threads have used so far."""
        total = 0
        for task in Path(f"/proc/{self.process.pid}/task").iterdir():
            try:
                total += int((task / "schedstat").read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):  # a thread that has just ended
                continue
        return total / 1e9

    def settle(self) -> float:
        """Wait until no thread uses the processor any more; return how long that took."""
        start = time.perf_counter()
        before = self.used()
        while time.perf_counter() - start < PATIENCE:
            time.sleep(PAUSE)
            now = self.used()
            if now - before < QUIET_SHARE * PAUSE:
                break
            before = now
        return time.perf_counter() - start

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.words):
            if stream is not None:
                stream.close()
