"""The server of a board: leases, batches and their records over TLS, for one accelerator.

It runs on the board itself, a 32-bit ARM one too, so it needs Python 3.10, the standard library and NumPy,
and nothing else of this repository: a copy of this folder under any name is the whole program.
"""
