"""One process that serves: database, migrations, HTTP API, MCP and the filling in of vectors.

Invariant: it ends as it began. Requests that are under way are finished, connections closed, and
the embedded server stopped if this process started it and nobody else uses it.
"""
