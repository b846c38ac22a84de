"""What people use instead, in the same run: the same crops, cores and warm-up, each as its own documentation has it.

Everything here is written from documented behaviour. What is under another licence runs as an external command in an
environment of its own. The JSON files are contracts of models of others, by the names of their files.
"""
