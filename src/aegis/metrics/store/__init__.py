"""SQL of metrics: samples, partitions, roll-ups, charts. Functions take the caller's `conn`."""
