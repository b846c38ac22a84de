"""One run of a stage: trainer, checkpoint, resume, record, validation."""
