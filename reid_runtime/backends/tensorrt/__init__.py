"""TensorRT: engines built for the shapes of real crops, cached, self-tested, trusted only where built, and run."""
