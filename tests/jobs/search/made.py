"""Galleries and queries whose cosines are chosen, and a calibration of their embedding space."""

import dataclasses

import numpy as np

from reid_runtime.jobs import Embeddings

from ...matching.made import calibration as made_calibration
from ...models import CONTRACT

QUERY = np.eye(CONTRACT.dimension, dtype=np.float32)[0]


def calibration(**source):
    """FPIR 1 % from a cosine of 0.5 on among up to ten people; odds of 3 to 1 take about 0.08 between 0.5 and 0.75."""
    made = made_calibration()
    return dataclasses.replace(
        made, contract_id=CONTRACT.contract_id, source=dataclasses.replace(made.source, **source)
    )


def at(*cosines):
    """(N, D) unit vectors with these cosines to QUERY, the rest in a dimension of their own."""
    vectors = np.zeros((len(cosines), CONTRACT.dimension), np.float32)
    vectors[:, 0] = cosines
    for row, cosine in enumerate(cosines):
        vectors[row, 1 + row % (CONTRACT.dimension - 1)] = np.sqrt(1 - cosine**2)
    return vectors


def rows(vectors, ids=None, **texts):
    """A table of these vectors; texts are lists."""
    columns = {name: np.array(values, np.str_) for name, values in texts.items()}
    sizes = np.full(len(vectors), 64, np.int32)
    return Embeddings(
        id=np.array(ids or [f"{row}.jpg" for row in range(len(vectors))], np.str_),
        embedding=vectors, width=sizes, height=sizes,
        **({"error": np.full(len(vectors), "", np.str_)} | columns),
        contract=CONTRACT.to_json(), contract_id=CONTRACT.contract_id, artefact_id="sha256:ab", backend="none",
    )  # fmt: skip
