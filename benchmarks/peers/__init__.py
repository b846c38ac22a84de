"""What people use instead, in the same run: the same crops, cores and warm-up, each as its own documentation has it.

Everything is written from documented behaviour. The JSON files are contracts of third-party models, by file name.
"""
