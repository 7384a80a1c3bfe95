"""Forgetting: times to live, decay, archives, and the erasure of a subject.

Owns `memory_usage`, `memory_holds`, `memory_policies`, `memory_archives` and `memory_erasures`.
Invariant: whatever moment the process dies at, a memory that is forgotten is either in its table
or in a complete archive, and never in both after a restore.
"""
