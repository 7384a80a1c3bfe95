"""Restoring: into a new database, beside the old one, or in its place.

Invariant: the database that is there stays as it is until the restored one is complete and
compared with its manifest; what takes its place does so by one rename. A restore that is killed
leaves a database of a name of its own, which the next one removes.
"""
