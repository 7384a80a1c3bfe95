"""Other stores of memories, asked the same questions about the same rows with the same vectors.

Each peer runs as a process of its own in a virtual environment of its own (`environment.py`); an
adapter (`adapters/`) speaks JSON lines with `process.py`. What a peer cannot do is part of the
result: one that cannot be installed, fails or hangs is named with the reason.
"""
