"""What keeps the database from those who should not: the audit log, roles, encrypted columns.

The parts do not know one another; each is imported by itself.
"""
