"""reid-runtime embed: images, or a video's boxes, to a file of embeddings, or to a folder of parts to be resumed."""

import shlex
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from reid_runtime.cli.embed_report import report
from reid_runtime.cli.embed_video import VideoChoice, check_video, choose_video, video_options
from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.progress import progress_bar
from reid_runtime.cli.terminal import examples
from reid_runtime.images.limits import DEFAULT_LIMITS, ImageLimits
from reid_runtime.io.remote import is_url
from reid_runtime.io.text import in_one_line
from reid_runtime.jobs.embed_folder import JobResult, embed_folder
from reid_runtime.jobs.formats import FORMATS
from reid_runtime.jobs.job import OnError, check_output
from reid_runtime.jobs.shard import Shard
from reid_runtime.jobs.sources import check_named, find_sources

if TYPE_CHECKING:
    from reid_runtime.jobs.embed_video import VideoResult


@click.command(
    "embed",
    epilog=examples(
        "reid-runtime embed examples/crops",
        "reid-runtime embed examples/crops -o parts/ --resume",
        "find examples/crops -name '*.jpg' | reid-runtime embed - -o some.npz",
    ),
)
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "-o", "--output", default="embeddings.npz", show_default=True, metavar="OUT",
    help=f"{', '.join(f'FILE{suffix}' for suffix in FORMATS)}, or FOLDER/: parts that are finished one by one and can "
    "be resumed.",
)  # fmt: skip
@click.option("--force", is_flag=True, help="Overwrite the output.")
@click.option(
    "--resume", is_flag=True,
    help="Go on with the job in FOLDER/, or with what was kept for FILE; begin it where there is none.",
)  # fmt: skip
@click.option("--update", is_flag=True, help="Add what is new to the job in FOLDER/, and make again what has changed.")
@click.option("--root", metavar="DIR", help="Ids are the images' paths below DIR.  [as they were given]")
@click.option("-0", "--null", "nul", is_flag=True, help="The names of lists end with NUL, as of `find -print0`.")
@click.option(
    "--shard", metavar="I/N", default="1/1",
    help="Only part I of N, 1/4 to 4/4: by a hash of the ids, disjoint and together everything.",
)  # fmt: skip
@click.option(
    "--on-error", type=click.Choice(["skip", "raise", "record"]), default="skip", show_default=True,
    help="An image that cannot be used: leave it out, stop, or keep its row with the error.",
)  # fmt: skip
@click.option(
    "--min-size", type=click.IntRange(min=1), default=1, metavar="N",
    help="Images whose shorter side has less than N pixels are errors.",
)  # fmt: skip
@click.option(
    "--max-pixels", type=click.IntRange(min=1), default=DEFAULT_LIMITS.max_pixels, show_default=True, metavar="N",
    help="Images of more pixels are errors.",
)  # fmt: skip
@click.option(
    "--max-bytes", type=click.IntRange(min=1), default=DEFAULT_LIMITS.max_bytes, show_default=True, metavar="N",
    help="Files of more bytes are errors.",
)  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON object on standard output.")
@click.option(
    "--metrics", type=click.Path(dir_okay=False), metavar="FILE.prom",
    help="Keep counters in FILE.prom, in Prometheus's text format, up to date while the job runs.",
)  # fmt: skip
@video_options
@model_options
def command(
    paths: tuple[str, ...],
    output: str,
    force: bool,
    resume: bool,
    update: bool,
    root: str | None,
    nul: bool,
    shard: str,
    on_error: OnError,
    min_size: int,
    max_pixels: int,
    max_bytes: int,
    as_json: bool,
    metrics: str | None,
    video: VideoChoice,
    chosen: ModelChoice,
) -> None:
    """Embed every image of PATH...: folders (searched recursively), files, `.txt` lists of paths, `-` for stdin.

    Writes one row an image: id, embedding, width, height, error and reasons, codes of what makes it hardly worth a
    vector; a .csv holds no contract, and cannot be searched. The id is the path inside the folder where PATH is one
    folder, else the path as it was given; lists are relative to the working directory, or else to the list's folder,
    and `#` begins a comment. Folders are read in the order of the relative paths; names that begin with a dot are
    skipped. PATH and OUT may be URLs that fsspec knows, as `s3://bucket/folder/`; such an OUT is a folder of parts.

    With --boxes, PATH is a video, and there is one row a box of anyone's detector or tracker: also camera, frame, time,
    track, x1, y1, x2 and y2. The id is VIDEO#FRAME/TRACK, or the box's number in its frame where it has no track.
    """
    part = Shard.parse(shard)
    check_video(paths, video, {"update": update, "root": root, "null": nul})
    check_named([path for path in paths if video.boxes is None or not is_url(path)])
    check_output(output, resume=resume, update=update, force=force)
    shared: dict[str, Any] = {"on_error": on_error, "shard": part, "resume": resume, "force": force, "metrics": metrics}
    job: Callable[..., JobResult | VideoResult]
    if video.boxes is None:
        # A supervisor may have closed standard input.
        stdin = None if sys.stdin is None else sys.stdin.buffer
        sources = find_sources(paths, stdin, root=root, nul=nul).of(part)
        job, count = partial(embed_folder, sources=sources, update=update, **shared), len(sources)
    else:
        from reid_runtime.jobs.embed_video import embed_chosen  # images begin sooner without it

        boxes = choose_video(paths[0], video)
        job, count = partial(embed_chosen, chosen=boxes, crops=video.crops, **shared), len(boxes.images.of(part))
    embedder = load_model(chosen)
    embedder.limits = ImageLimits(max_pixels, max_bytes, min_side=min_size)
    with _told_of_what_is_kept(), progress_bar(count) as advance:
        result = job(embedder=embedder, output=output, progress=advance)
    report(result, on_error == "record", as_json)
    if result.failed:
        click.get_current_context().exit(3 if result.embedded else 1)


@contextmanager
def _told_of_what_is_kept() -> Iterator[None]:
    """Print, whatever ends the block, where what was finished is, and how to go on."""
    try:
        yield
    except BaseException as error:  # Ctrl-C and SIGTERM too
        for text in getattr(error, "__notes__", ()):
            is_kept = "which are in" in text or "finished is in" in text
            with suppress(OSError):  # a terminal that is gone
                # In one line, which is copied whole.
                click.echo(in_one_line(text + (_how_to_resume() if is_kept else "")), err=True)
        raise


def _how_to_resume() -> str:
    words = [word for word in sys.argv[2:] if word not in ("--resume", "--force")]
    # --resume before a `--`, behind which are only paths
    resume = [] if "--update" in words else ["--resume"]
    return f"; to go on: {shlex.join(['reid-runtime', 'embed', *resume, *words])}"
