"""A video's boxes as the input of a job: the files that name them, and their crops."""
