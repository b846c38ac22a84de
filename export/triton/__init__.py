"""What `export.to_triton` lays into a model repository beside the model."""
