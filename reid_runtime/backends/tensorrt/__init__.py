"""TensorRT engines: cut to the shapes of real crops, built, described, kept, and not taken from strangers."""
