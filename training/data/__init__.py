"""Training images: labelled crops, augmentation, cut-out and the student's views."""

from training.data.training_set import TrainingCrops, load_training

__all__ = ["TrainingCrops", "load_training"]
