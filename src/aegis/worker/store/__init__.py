"""SQL of jobs, schedules, workers and rates. Functions take the caller's `conn`."""
