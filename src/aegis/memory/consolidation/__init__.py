"""Consolidation: what like episodes have in common becomes proposed facts and patterns.

Owns `memory_proposals` and `memory_consolidation`. Invariant: episodes are only read; no run hides,
changes or deletes one, so that what is fresh is recalled while a run goes on and after it.
"""
