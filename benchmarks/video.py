"""python -m benchmarks.video VIDEO BOXES -o FILE.json: the whole path of a video against its stages, and its memory.

Each stage runs alone first, on one thread, and the processor time that they take is summed: two cores cannot be faster
than two divided by that sum. Then the job behind `reid-runtime embed VIDEO` runs as a whole, with one inference thread
and with all: on a machine that does other work too, only the processor time of the former says something. For the
memory the video is repeated, as one without an end, into a folder of parts, and resident memory is read as the boxes
go by.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import Any

import click
import numpy as np

from benchmarks.environment import environment
from reid_runtime.batching import WINDOW
from reid_runtime.cli import run
from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.embedder import Embedder
from reid_runtime.images.boxes import FrameBoxes
from reid_runtime.images.quality import DEFAULT_POLICY
from reid_runtime.images.resize import Pixels, resized
from reid_runtime.images.video import VideoFile, VideoFrame, open_video
from reid_runtime.inference import infer
from reid_runtime.jobs.embed_video import embed_video
from reid_runtime.jobs.video.box_files import read_boxes
from reid_runtime.jobs.video.boxes import Boxes

_STATM = Path("/proc/self/statm")


@dataclass(frozen=True)
class Repeated(VideoFile):
    """A video shown again and again, as one without a cut."""

    once: VideoFile | None = None

    @classmethod
    def of(cls, video: VideoFile, loops: int) -> "Repeated":
        """The video so many times."""
        length = video.times[-1] + video.times[1]
        times = np.concatenate([video.times + loop * length for loop in range(loops)])
        return cls(video.path, times, len(times), video.size, video.rotation, video.upright, video)

    def frames(self, wanted: Iterable[int]) -> Generator[VideoFrame, None, None]:
        """As the video's own, with the numbers that go on."""
        assert self.once is not None
        numbers = np.fromiter(wanted, np.int64) - 1
        for loop in np.unique(numbers // len(self.once)).tolist():
            own = numbers[numbers // len(self.once) == loop] % len(self.once) + 1
            for frame in self.once.frames(own.tolist()):
                number = frame.number + loop * len(self.once)
                yield VideoFrame(number, float(self.times[number - 1]), frame.pixels)


def spent(call: Callable[[], object]) -> dict[str, float]:
    """Seconds by the clock, and of all cores, of one call."""
    begin, processor = time.perf_counter(), time.process_time()
    call()
    return {"seconds": time.perf_counter() - begin, "core_seconds": time.process_time() - processor}


def measure_stages(embedder: Embedder, video: VideoFile, boxes: Boxes, rounds: int) -> dict[str, dict[str, float]]:
    """The least time of several rounds of each stage, over all frames that have boxes."""
    numbers = np.unique(boxes.frame).tolist()
    rule = embedder.contract.resize
    frames = [(frame.pixels, boxes.corners[boxes.frame == frame.number]) for frame in video.frames(numbers)]

    def cut() -> list[Pixels]:
        crops = []
        for pixels, corners in frames:
            framed = FrameBoxes.of(pixels, corners, "bgr")
            for row in np.flatnonzero(framed.valid).tolist():
                crop = np.ascontiguousarray(framed.crop(row))
                DEFAULT_POLICY.judge(crop)
                crops.append(resized(crop, rule))
        return crops

    def embed(ready: Sequence[Pixels]) -> None:
        for start in range(0, len(ready), WINDOW):
            infer(embedder.backend, embedder.contract, ready[start : start + WINDOW])

    ready = cut()
    stages: dict[str, Callable[[], object]] = {
        "decode": lambda: sum(1 for _ in video.frames(numbers)),
        "cut, judge, resize": cut,
        "infer": lambda: embed(ready),
    }
    cost = itemgetter("core_seconds")
    return {name: min((spent(call) for _ in range(rounds)), key=cost) for name, call in stages.items()}


def measure_whole(embedder: Embedder, video: VideoFile, boxes: Boxes, rounds: int) -> dict[str, float]:
    """The least time of several rounds of the whole job, into a folder of parts."""

    def once() -> dict[str, float]:
        with tempfile.TemporaryDirectory() as folder:
            return spent(lambda: embed_video(embedder, video, boxes, f"{folder}/out/"))

    return min((once() for _ in range(rounds)), key=lambda each: each["seconds"])


def measure_memory(embedder: Embedder, video: VideoFile, boxes: Boxes, loops: int, every: int) -> dict[str, Any]:
    """Resident MiB over the frames of a video that is repeated; every n-th frame is cut, all are decoded."""
    repeated = Repeated.of(video, loops)
    frame = np.concatenate([boxes.frame + loop * len(video) for loop in range(loops)])
    looped = Boxes.of(boxes.name, frame, np.tile(boxes.corners, (loops, 1)), np.tile(boxes.track, loops))
    chosen = looped.of_frames(1, every)
    curve: list[tuple[int, float]] = []
    done = 0
    begin = time.perf_counter()

    def progress(finished: int) -> None:
        nonlocal done
        done += finished
        if finished and done % WINDOW == 0:
            mib = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
            curve.append((int(chosen.frame[min(done, len(chosen)) - 1]), round(mib, 1)))

    with tempfile.TemporaryDirectory() as folder:
        embed_video(embedder, repeated, looped, f"{folder}/out/", first_frame=1, every=every, progress=progress)
    shown, mib = np.array(curve).T
    late = shown > shown[-1] / 3
    slope = float(np.polyfit(shown[late], mib[late], 1)[0])
    return {
        "frames": len(repeated), "boxes": len(chosen), "seconds": time.perf_counter() - begin,
        "most": float(mib.max()), "mib_per_100000_frames_behind_the_first_third": 1e5 * slope, "curve": curve,
    }  # fmt: skip


@click.command()
@click.argument("path", metavar="VIDEO", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("boxes", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="A .json file.")
@click.option("--frames", "most", default=10**9, help="Only so many frames are measured, of the first.  [all]")
@click.option("--rounds", default=3, show_default=True, help="Of each stage, and of the whole; 0: no times.")
@click.option("--loops", default=0, show_default=True, help="How often the video is repeated for its memory.")
@click.option("--every", default=10, show_default=True, help="For the memory: which frames are cut.")
@model_options
def command(
    path: Path, boxes: Path, output: Path, most: int, rounds: int, loops: int, every: int, chosen: ModelChoice
) -> None:
    """Measure the way of a video's boxes to their vectors."""
    embedder = load_model(chosen)
    video, given = open_video(path), read_boxes(boxes).of_frames()
    timed = given.take(np.flatnonzero(given.frame <= most))
    frames = len(np.unique(timed.frame))
    report: dict[str, Any] = {
        "environment": environment(), "model": embedder.contract.name, "backend": embedder.backend.name,
        "frames": frames, "boxes": len(timed), "size": video.size,
    }  # fmt: skip
    if rounds:
        single = Embedder.load(chosen.model, device=chosen.device, contract=chosen.contract, threads=1)
        stages = measure_stages(single, video, timed, rounds)
        alone = measure_whole(single, video, timed, rounds)
        job = measure_whole(embedder, video, timed, rounds)
        bound = (os.cpu_count() or 1) * frames / sum(each["core_seconds"] for each in stages.values())
        rate = frames / job["seconds"]
        report |= {
            "stages": stages,
            "one_thread": alone,
            "whole": job,
            "bound": bound,
            "rate": rate,
            "share": rate / bound,
        }
        for name, each in {**stages, "one inference thread": alone, "whole": job}.items():
            click.echo(f"{name:<21} {1000 * each['core_seconds'] / frames:6.2f} core-ms a frame")
        click.echo(f"{rate:.1f} frames/s of {bound:.1f} that the cores allow: {rate / bound:.2f}")
    if loops:
        report["memory"] = memory = measure_memory(embedder, video, given, loops, every)
        click.echo(f"{memory['frames']} frames: at most {memory['most']:.0f} MiB")
    output.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    run(command)
