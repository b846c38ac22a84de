"""Rendered people: identities by seed, dressed, posed and seen by cameras, as a labelled data set.

Lengths are decimetres, y is up and a body looks along +z, as in the MakeHuman meshes that everything is made of.
"""
