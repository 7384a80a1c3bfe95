"""Agent sessions: what coding agents did, what it cost, and what of it is worth remembering.

Owns `claude_sessions`, `session_events`, `session_usage` and `model_prices`. Invariants: an event
counts once however often it comes; a message is paid once; a hook never waits and never loses what
it was told. `spool` and `payload` are what a hook's own process imports: they import next to
nothing, and neither does this module.
"""
