"""Models and weights of Keras and PyTorch, in and out.

`keras` and `torch` hold the tables of layers of either framework, `hdf5` reads Keras's weight files and `weights`
says which weight of a foreign source belongs to which parameter.
"""
