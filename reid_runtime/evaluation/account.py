"""Whether a model was trained on what it is scored on, as far as its contract and the folders can tell."""

import re

from reid_runtime.evaluation.eval_set import EvalSet
from reid_runtime.model_file.contract import Contract


def seen_in_training(contract: Contract, eval_set: EvalSet) -> list[str]:
    """A warning for each set of the training data that the evaluated images are of, or one short note of all others.

    A contract names data as `market1501/bounding_box_train`, and keeps no list of images: the folders and names that
    images lie under are compared, and copies under other names cannot be told.
    """
    folders = {image.path.parent for images in (*eval_set.query.images, *eval_set.gallery.images) for image in images}
    lie_in = {tuple(map(_plain, folder.resolve().parts)) for folder in folders}
    warnings, others = [], []
    for item in contract.trained_on:
        data, *split = map(_plain, item.data.split("/")[:2])
        of_set = [parts[parts.index(data) + 1 :] for parts in lie_in if data in parts]
        if any(not split or parts[:1] == tuple(split) for parts in of_set):
            warnings.append(
                f"warning: {contract.name} was trained on {item.data}, and so on these images: their scores say "
                "nothing of how well it knows other people"
            )
        elif folders and not of_set and not eval_set.published:
            others.append(item.data)
    if others:
        warnings.append(f"{contract.name} was trained on {' and '.join(others)}: scores on those images mean nothing")
    return warnings


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
