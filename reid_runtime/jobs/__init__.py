"""Files of embeddings: npz, and parquet by extra, with the same columns and the same metadata; and folders of parts.

A file is written beside its final name, flushed to disk and renamed: under the final name there is a whole file
or none. Every file says which embedding space it is in (`contract_id`) and which model file made it (`artefact_id`).
"""

from reid_runtime.jobs.files import check_writable, read_embeddings, write_embeddings
from reid_runtime.jobs.table import Embeddings, check_same_space

__all__ = ["Embeddings", "check_same_space", "check_writable", "read_embeddings", "write_embeddings"]
