"""Networks: backbones, pooling, the embedding layer, and where their first weights come from."""
