"""The stages of training, with their losses and samplers."""
