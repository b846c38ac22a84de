"""Two cameras: who of the one is who of the other?

    pip install ".[cpu,video]"
    python examples/two_cameras.py [VIDEO BOXES VIDEO BOXES]

BOXES have tracks, of the ground truth or of your tracker. Without arguments: a rendered street under two cameras.
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `examples` is, run as a file

from examples.video import arguments, moments
from reid_runtime import EmbedBoxes, Embedder
from reid_runtime.tracking import ReassociateTracks
from reid_runtime.vectors import Vectors


def people_of(embed: EmbedBoxes, camera: int, video: Path | None, boxes: Path | None) -> tuple[list[str], Vectors]:
    """The people of one camera, named by their tracks, and the look of each."""
    people = ReassociateTracks.calibrated(embed)
    tracks: dict[int, set[int]] = {}
    for moment in moments(video, 100_000, camera, boxes):
        numbers = people(moment.frame, moment.boxes, moment.identities)
        for person, track in zip(numbers.tolist(), moment.identities.tolist(), strict=True):
            tracks.setdefault(people.became.get(person, person), set()).add(track)
    looks = {person: people.memory.vector(person) for person in tracks if person > 0}
    known = {person: look for person, look in looks.items() if look is not None}
    names = ["+".join(map(str, sorted(tracks[person]))) for person in known]
    return names, np.array(list(known.values()), dtype=np.float32).reshape(len(known), embed.embedder.dimension)


def main() -> None:
    """Print each pair of people who are most like each other, from the calibration's threshold on."""
    parser = arguments(__doc__)
    parser.add_argument("files", nargs="*", type=Path, metavar="VIDEO BOXES")
    files: list[Path | None] = parser.parse_args().files or [None] * 4
    if len(files) != 4:
        parser.error(f"expected two videos and the boxes of each, found {len(files)} files")
    embedder = Embedder.load()
    if embedder.calibration is None:
        sys.exit("the model has no calibration; run `reid-runtime calibrate`")
    threshold = embedder.calibration.stratum("nxn").threshold(0.001)
    embed = EmbedBoxes(embedder, "bgr")
    (here, first), (there, second) = (people_of(embed, each, *files[2 * each : 2 * each + 2]) for each in (0, 1))
    cosines = first @ second.T
    for row, name in enumerate(here):
        best = int(cosines[row].argmax())
        mutual = int(cosines[:, best].argmax()) == row
        linked = mutual and cosines[row, best] >= threshold
        answer = f"is {there[best]}" if linked else "is nobody of the other camera, as far as one can tell"
        print(f"{name} {answer}: cosine {cosines[row, best]:.3f}, threshold {threshold:.3f}")


if __name__ == "__main__":
    main()
