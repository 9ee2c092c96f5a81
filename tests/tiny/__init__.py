"""The tiny study: a random Llama of two blocks, invented requests, and a config of the product's own shape.

Everything is made by code in seconds, so that the whole workflow runs in a test in a minute or two, without a network.
"""
