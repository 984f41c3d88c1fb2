"""A whole provider in NumPy. Each of its flawed siblings in the tests changes one thing."""
