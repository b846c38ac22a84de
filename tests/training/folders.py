"""Data sets of drawn people in plain folders."""

import numpy as np

from ..sample_images import encode, sample_image


def write_people(folder, people, cameras=2, views=2, tint=0):
    """identity/camera/image, each person with a little of a colour where there is a tint; gives the folder."""
    for person, camera, view in np.ndindex(people, cameras, views):
        image = sample_image(40, 14 + 3 * view, seed=100 * person + 10 * camera + view)
        if tint:  # so that some find each other, and some do not
            colour = np.array([person & 1, person >> 1 & 1, person >> 2 & 1]) * tint
            image = image // 2 + colour.astype(np.uint8)
        path = folder / f"person-{person}" / f"camera-{camera}" / f"{view}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encode(image, "PNG"))
    return folder
