"""The MCP face: tools named `memory_…`, resources `aegis://…` and prompts, over stdio and HTTP.

Invariant: a tool parses, makes one call and renders; its annotations say what it does to the data.
"""
