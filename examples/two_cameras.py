"""Two synchronised cameras in one call: who of the one is who of the other?

python examples/two_cameras.py
"""

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # where `examples` is, run as a file

from examples.video import moments, video_argument
from reid_runtime import Embedder


def main() -> None:
    """Take one street in two cameras, and match their people by cosine."""
    if video_argument(__doc__) is not None:
        sys.exit("it takes no video: it shows the rendered street, whose two cameras are synchronised")
    embedder = Embedder.load()
    right = total = 0
    for here, there in zip(moments(None, 12, camera=0), moments(None, 12, camera=1), strict=True):
        first, second = embedder.embed_frames([here.frame, there.frame], [here.boxes, there.boxes], "bgr")
        nearest = there.identities[(first @ second.T).argmax(axis=1)]
        right += int(np.sum(nearest == here.identities))
        total += len(nearest)
    print(f"{right} of {total} people are nearest to themselves in the other camera")


if __name__ == "__main__":
    main()
