"""Watching competitors: their pages, what they said, and what of that changed.

Owns `competitors`, `competitor_pages`, `competitor_changes`, `competitor_snapshots` and
`competitor_hosts`. Invariants: a fetch that failed, or found nothing to read, never moves the
baseline; a change is stored after a second fetch confirmed it, together with the baseline that
moves, in one transaction; what changes by itself is no change.

Thinking is pure: `extracting` and `prices` read a document, `noise` and `judging` decide what is a
change, `differing` and `digest` put it in words. `fetching` and `browser` alone use the network.
"""
