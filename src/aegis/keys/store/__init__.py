"""SQL of keys: verification, the keys themselves, their quota, tiers, server secrets.

Locks are taken in one order: a key's meter, then its row in `api_keys`; several keys by id.
"""
