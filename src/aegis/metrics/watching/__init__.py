"""The detector over samples as they come in: what is unusual becomes anomalies and alerts.

Owns `infra_anomaly_alerts`, `metric_rules`, `metric_watch` and `metric_watch_states`. One process
watches at a time. Its state is saved every few minutes, and samples since then are judged again
after a restart: the same samples give the same incidents, which are written once each.
"""
