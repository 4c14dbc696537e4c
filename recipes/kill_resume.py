"""Kill a training with SIGKILL at random moments, resume it, and compare with one left in peace.

A small network with everything that could go wrong (shuffling, dropout, batch norm, Adam, a
schedule, gradient clipping, worker threads) is trained in a process of its own, which is killed
at a random moment, perhaps in the midst of writing a checkpoint. Then the training is resumed
until it ends. Weights, optimizer, log and best model must be the same to the last bit as those of a
training that was never disturbed, and no checkpoint may ever be unreadable.

    python recipes/kill_resume.py                        twenty kills
    python recipes/kill_resume.py --kills 3 --epochs 4   a short version

It prints a table, and exits with status 1 if anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from chainrule import nn, optim
from chainrule.data.dataset import TensorDataset
from chainrule.data.loader import DataLoader
from chainrule.ops.generator import manual_seed
from chainrule.train import Trainer
from chainrule.train.checkpoint import Checkpoints

FEATURES, CLASSES, EXAMPLES = 12, 4, 700
# Longest that a training may take, in seconds; it takes about three.
PATIENCE = 300.0


def dataset(seed: int, n: int) -> TensorDataset:
    """Return points whose class depends on two of their coordinates."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, FEATURES)).astype(np.float32)
    y = (x[:, 0] > 0) + 2 * (x[:, 1] * x[:, 2] > 0)
    return TensorDataset(x, y.astype(np.int64))


def train(run: Path, epochs: int, seconds: float) -> None:
    """Train, or go on with what the run folder holds."""
    manual_seed(7)
    # Checkpoints hold the state of these generators too, which is another one in each process.
    random.seed(7)
    np.random.seed(7)
    model = nn.Sequential(
        nn.Linear(FEATURES, 48),
        nn.BatchNorm1d(48),
        nn.ReLU(),
        nn.Dropout(0.3),
        nn.Linear(48, CLASSES),
    )
    optimizer = optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-2)
    trainer = Trainer(
        model,
        nn.CrossEntropyLoss(label_smoothing=0.05),
        optimizer,
        metrics=["accuracy", "f1"],
        schedule=optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs),
        clip_norm=1.0,
        patience=1000,
        out=run,
        checkpoint_seconds=seconds,
        progress=False,
    )
    loader = DataLoader(dataset(0, EXAMPLES), batch_size=32, shuffle=True, seed=3, num_workers=2)
    valid = DataLoader(dataset(1, 200), batch_size=64)
    print("training", flush=True)
    trainer.fit(loader, valid, epochs=epochs, resume=True)


def start(run: Path, epochs: int, seconds: float = 0.05) -> subprocess.Popen[str]:
    """Start a training in a process of its own, and wait until it has begun."""
    command = [sys.executable, __file__, "--worker", str(run), "--epochs", str(epochs)]
    command += ["--seconds", str(seconds)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    if process.stdout.readline().strip() != "training":
        raise SystemExit(f"the training in {run} did not begin")
    return process


def finish(process: subprocess.Popen[str]) -> None:
    """Wait for a training to end well."""
    with process:
        if process.wait(PATIENCE):
            raise SystemExit(f"a training failed with exit status {process.returncode}")


def summary(run: Path) -> dict[str, str]:
    """Return digests of all that a finished training left, times of the clock excepted."""
    folder = run / "checkpoints"
    last = json.loads((folder / "last.json").read_text())
    del last["state"]["counters"]["log_bytes"]  # longer when a time has more digits
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    log = [{key: value for key, value in row.items() if key != "seconds"} for row in rows]
    return {
        "weights": last["sha256"],
        "state": digest(last["state"]),
        "log": digest(log),
        "best": hashlib.sha256((folder / "best.safetensors").read_bytes()).hexdigest(),
    }


def digest(value: Any) -> str:
    """Return a digest of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def trial(run: Path, epochs: int, seconds: float, moments: list[float]) -> list[str]:
    """Kill a training at each of the moments (seconds after it began), then let it end.

    Args:
        run: Its run folder.
        epochs: Its length.
        seconds: Between two checkpoints; 0: after every step, so that most kills hit a write.
        moments: When it is killed.

    Returns:
        Where it was each time: ``step 120``.
    """
    places = []
    for moment in moments:
        process = start(run, epochs, seconds)
        time.sleep(moment)
        process.kill()
        with process:
            process.wait(PATIENCE)
        checkpoints = Checkpoints(run)
        if checkpoints.exist():
            counters = checkpoints.load()["counters"]  # raises if it cannot be read
            places.append(f"step {counters['step']}")
        else:
            places.append("nothing yet")
    finish(start(run, epochs))
    return places


def main() -> int:
    """Run all trials and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--kills", type=int, default=20, help="trainings that are killed")
    parser.add_argument("--epochs", type=int, default=12, help="length of each training")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--seconds", type=float, default=0.05, help=argparse.SUPPRESS)
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        train(given.worker, given.epochs, given.seconds)
        return 0
    rng = random.Random(given.seed)
    differences = 0
    with tempfile.TemporaryDirectory() as folder:
        process = start(Path(folder) / "undisturbed", given.epochs)
        began = time.perf_counter()
        finish(process)
        length = time.perf_counter() - began
        expected = summary(Path(folder) / "undisturbed")
        print(f"undisturbed: {length:.1f} s, weights {expected['weights'][:12]}")
        print(f"{'#':>3}  {'killed after':22}  {'last checkpoint':34}  {'  '.join(expected)}")
        for number in range(1, given.kills + 1):
            # Every fourth training is killed three times.
            moments = [rng.uniform(0, length) for _ in range(3 if number % 4 == 0 else 1)]
            run = Path(folder) / f"killed-{number}"
            places = trial(run, given.epochs, 0.05 * (number % 2), moments)
            found = summary(run)
            same = [found[key] == expected[key] for key in expected]
            differences += not all(same)
            times = " ".join(f"{moment:.2f} s" for moment in moments)
            marks = "  ".join(
                f"{'same' if equal else 'DIFFERS':{len(key)}}"
                for key, equal in zip(expected, same, strict=True)
            )
            print(f"{number:3}  {times:22}  {', '.join(places):34}  {marks}", flush=True)
    print(f"{given.kills} trainings killed and resumed, {differences} differ")
    return 1 if differences else 0


if __name__ == "__main__":
    sys.exit(main())
