"""The MCP face: tools named `memory_…`, over stdio and streamable HTTP.

Invariant: a tool parses, makes one call and renders; its annotations say what it does to the data.
"""
