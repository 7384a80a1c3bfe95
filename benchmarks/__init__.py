"""Benchmarks, one file each: `python -m benchmarks NAME … [--json]`.

They start a throw-away PostgreSQL of their own and never touch `AEGIS_DATABASE_URL`.
"""
