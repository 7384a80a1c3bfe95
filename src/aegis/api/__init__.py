"""The HTTP face: `/v1` with OpenAPI, on loopback, behind the operator token.

Invariant: each route parses, makes one call and renders; no SQL, and no error text of its own.
"""
