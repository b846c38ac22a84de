"""Jobs: images into files of embeddings, or into folders of parts that can be resumed, sharded and merged.

Every file says which embedding space it is in (`contract_id`) and which model file made it (`artefact_id`).
"""

from reid_runtime.jobs.embeddings import Embeddings, check_same_space
from reid_runtime.jobs.formats import ensure_embeddings_writable, read_embeddings, write_embeddings

__all__ = ["Embeddings", "check_same_space", "ensure_embeddings_writable", "read_embeddings", "write_embeddings"]
