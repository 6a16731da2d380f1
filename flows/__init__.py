"""Prefect's side: when the pipeline runs, and what is seen of it. Prefect reads its settings while it is imported, so
what must hold for every flow stands here: no usage statistics, time for the temporary server to start, and patience
with a server that is started again."""

import os

os.environ.setdefault("DO_NOT_TRACK", "1")
os.environ.setdefault("DVC_NO_ANALYTICS", "1")
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
os.environ.setdefault("PREFECT_CLIENT_MAX_RETRIES", "7")  # in about four minutes
