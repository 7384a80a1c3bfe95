"""The SQL of memory, one file per table and one for search; one function, one statement.

Every function's first argument is `conn`: it runs in its caller's transaction and never commits.
"""
