"""What a run folder tells besides its weights: recipe, code version, seeds, metrics, and the curriculum to look at."""

import hashlib
import io
import json
import time
from collections import defaultdict
from pathlib import Path
from types import TracebackType
from typing import Any

import torch

import reid_runtime
from reid_runtime.images.resize import Pixels
from reid_runtime.io.atomic import atomic_write
from training.config import as_toml
from training.data.augmentation import contact_sheet
from training.recipe import Recipe

RECIPE, RECORD, METRICS, CURRICULUM = "recipe.toml", "run.json", "metrics.jsonl", "curriculum.png"


def code_version() -> dict[str, str]:
    """The package's version, torch's, and the SHA-256 of the training code's files by name and content."""
    digest = hashlib.sha256()
    folder = Path(__file__).parents[1]
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return {
        "reid_runtime": reid_runtime.__version__,
        "training": f"sha256:{digest.hexdigest()}",
        "torch": torch.__version__,
    }


def write_record(folder: Path, recipe: Recipe, stage: str, device: str, data: str, update: int) -> None:
    """`recipe.toml` as used, and `run.json`, which gains a line each time that the run is taken up."""
    path = folder / RECORD
    sessions = json.loads(path.read_text(encoding="utf-8"))["sessions"] if update and path.exists() else []
    sessions.append({"from_update": update, "device": device, "threads": torch.get_num_threads(), **code_version()})
    record = {"stage": stage, "seed": recipe.seed, "data": data, "sessions": sessions}
    for name, text in ((RECIPE, as_toml(recipe.as_dict())), (RECORD, json.dumps(record, indent=2) + "\n")):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")


def write_preview(folder: Path, examples: list[list[Pixels]]) -> None:
    """`curriculum.png`: an image a row, from the start of training on the left to its end on the right."""
    buffer = io.BytesIO()
    contact_sheet(examples).save(buffer, "PNG")
    with atomic_write(folder / CURRICULUM) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`; a line that a killed run left half written is passed over."""
    path = folder / METRICS
    records = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else []:
        try:
            records.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return records


class Metrics:
    """`metrics.jsonl`: a record every few updates, means since the one before, and the scores of held-out people."""

    def __init__(self, folder: Path, update: int) -> None:
        """What a killed run wrote after `update`, from which it is taken up, will be written again."""
        kept = [record for record in read_metrics(folder) if update and record["update"] <= update]
        with atomic_write(folder / METRICS) as temporary:
            temporary.write_text("".join(json.dumps(record) + "\n" for record in kept), encoding="utf-8")
        self._file = open(folder / METRICS, "a", encoding="utf-8")  # noqa: SIM115  closed by __exit__
        self._start()

    def __enter__(self) -> "Metrics":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _start(self) -> None:
        self._since, self._count = time.monotonic(), 0
        self._sums: dict[str, float] = defaultdict(float)
        self._size = 0

    def add(self, loss: float, agreement: float, images: int, size: int, seconds: dict[str, float]) -> None:
        """One update's measures."""
        self._count += 1
        self._size = size
        named = {f"seconds_{name}": value for name, value in seconds.items()}
        for name, value in {"loss": loss, "agreement": agreement, "images": images, **named}.items():
            self._sums[name] += value

    def write(self, update: int, learning_rate: float) -> dict[str, float]:
        """The record of the updates since the last one."""
        sums, elapsed = self._sums, max(1e-9, time.monotonic() - self._since)
        record = {
            "update": update,
            "loss": round(sums.pop("loss") / self._count, 5),
            "agreement": round(sums.pop("agreement") / self._count, 4),
            "learning_rate": learning_rate,
            "size": self._size,
            "images_per_second": round(sums.pop("images") / elapsed, 2),
            **{name: round(value, 3) for name, value in sums.items()},
        }
        self._write(record)
        self._start()
        return record

    def write_scores(self, update: int, scores: dict[str, float]) -> None:
        """The held-out people's scores after an update."""
        self._write({"update": update, **{name: round(value, 5) for name, value in scores.items()}})

    def _write(self, record: dict[str, float]) -> None:
        self._file.write(json.dumps(record) + "\n")
        self._file.flush()
