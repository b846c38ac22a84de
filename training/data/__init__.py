"""Training images: labelled crops, augmentation, cut-out and the student's views."""
