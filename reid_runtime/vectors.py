"""What an embedding is as a type."""

import numpy as np
import numpy.typing as npt

Vectors = npt.NDArray[np.float32]
"""(N, D) float32, each row of unit length unless said otherwise; (D,) where one vector is meant."""

UNIT_TOLERANCE = 1e-3
"""How far from 1 the length of a model's own vector may be."""

STORED_TOLERANCE = 1e-2
"""As much for stored vectors: room for float16, none for those that were not normalised."""
