"""reid-runtime same: are two images, or two folders of images, of the same person?"""

import dataclasses
import json
from pathlib import Path

import click

from reid_runtime.cli.options import ModelChoice, load_model, model_options
from reid_runtime.cli.terminal import examples, highlight
from reid_runtime.errors import ImageError
from reid_runtime.io.text import counted, in_one_line
from reid_runtime.jobs.search.queries import Query, read_queries
from reid_runtime.matching import CalibrationError, VerdictSettings, read_calibration
from reid_runtime.matching.calibration import Crops

_RATE = click.FloatRange(0, 1, min_open=True, max_open=True)


@click.command(
    "same",
    epilog=examples(
        "reid-runtime same examples/crops/person-01/camera-1 \\\n    examples/crops/person-01/camera-2",
    ),
)
@click.argument("first", type=click.Path(exists=True))
@click.argument("second", type=click.Path(exists=True))
@click.option(
    "--calibration", "stated", type=click.Path(exists=True, path_type=Path), metavar="FILE",
    help="What `reid-runtime calibrate` wrote, for this site; the model's own without this.",
)  # fmt: skip
@click.option("--same-camera", is_flag=True, help="One camera took both: the thresholds of comparisons within cameras.")
@click.option("--fmr", type=_RATE, help="`same` from the threshold of this FMR on.  [the calibration's own, 0.001]")
@click.option("--fnmr", type=_RATE, help="`different` where the FNMR is at most this.  [the calibration's own, 0.01]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@model_options
def command(
    first: str,
    second: str,
    stated: Path | None,
    same_camera: bool,
    fmr: float | None,
    fnmr: float | None,
    as_json: bool,
    chosen: ModelChoice,
) -> None:
    """Compare FIRST with SECOND: two images, or folders of images of one person each (their mean vectors).

    Prints same, different or unsure, with the similarity (a cosine), and at that similarity the share of pairs of two
    people that are as similar (FMR) and of pairs of one person that are less so (FNMR). A folder is compared by the
    thresholds of means of several images. The exit code is 0, whatever the answer.
    """
    calibration = None if stated is None else read_calibration(stated)
    embedder = load_model(chosen)
    calibration = calibration or embedder.calibration
    if calibration is None:
        raise CalibrationError(
            f"{embedder.path} carries no calibration, and a similarity alone does not say whether two images are of "
            "one person: pass --calibration FILE, which `reid-runtime calibrate` makes of labelled images"
        )
    calibration.require_space(embedder.contract.contract_id, str(embedder.path))
    own = calibration.settings
    settings = VerdictSettings(fmr or own.same_fmr, fnmr or own.different_fnmr)
    one, other = (_person(path, read_queries([path], embedder).queries) for path in (first, second))
    judged = dataclasses.replace(calibration, settings=settings).verdict(
        round(float(one.vector @ other.vector), 6), _crops(one, other), "within" if same_camera else None,
        tuple(dict.fromkeys(one.reasons + other.reasons)),
    )  # fmt: skip
    judged = dataclasses.replace(judged, calibration_id=calibration.calibration_id)
    if as_json:
        facts = {"artefact_id": embedder.artefact_id, "calibrated_on": calibration.source.dataset}
        sides = {"settings": dataclasses.asdict(settings), "images": [_facts(one), _facts(other)]}
        click.echo(json.dumps(dataclasses.asdict(judged) | facts | sides, indent=2))
    else:
        click.echo(highlight(in_one_line(str(judged))))


def _person(path: str, queries: tuple[Query, ...]) -> Query:
    if len(queries) != 1:
        raise ImageError(
            f"{path} holds {counted(len(queries), 'person')}; expected an image, or a folder of images of one person"
        )
    return queries[0]


def _crops(one: Query, other: Query) -> Crops:
    kinds: tuple[Crops, ...] = ("1x1", "1xn", "nxn")
    return kinds[sum(len(side.images) > 1 for side in (one, other))]


def _facts(side: Query) -> dict[str, object]:
    """What it takes to say the same again."""
    return {
        "path": side.name,
        "digest": side.digest,
        "images": len(side.images),
        "left_out": side.left_out,
        "reasons": side.reasons,
    }
