"""Container metrics and what is unusual about them.

Owns `container_metrics`, its roll-ups `container_metrics_1m`, `_5m`, `_15m` and `_1h`,
`metric_rollups`, how far these have come, and `container_starts`. A sample is stored once; no data
is no zero.

Thinking is pure: `detector` scores values, `watch` makes incidents of scores, `drift` sees slow
rises, `season` learns days and weeks. They know no database and no clock.
"""
