"""Search: whom of a gallery images show, with error rates, or that they show nobody who is in it."""
