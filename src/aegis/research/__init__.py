"""Research: questions that somebody else looks into for minutes, paid once and within a budget.

Owns `deep_briefing_jobs` and the tables `research_*`. Invariants: what may be paid is written down
before it is sent (`sent_at`), so that a restart never pays for it again unknowingly; the sum of
what was spent and what is kept free for running jobs stays within the month's budget; a job's
report becomes a memory once. `work.ResearchWork` is what a worker runs.
"""
