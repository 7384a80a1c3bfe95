"""What the faces share: the JSON form of a value, cursors, the operator token, who serves.

Invariant: nothing here imports a driver, a framework or a model, so that a short command can ask a
running server without paying for any of them.
"""
