"""What is done to a trained network before it is exported: whitening, averaging, batch-norm calibration."""
