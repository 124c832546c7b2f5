"""Metrics as pure functions on arrays, and the statistics over them: bootstrap, paired tests, baselines, stacking."""

from recsys_lora.evaluation.ranking import auc, hit_rate_at, log_loss, mrr, ndcg_at, uauc

__all__ = ["auc", "hit_rate_at", "log_loss", "mrr", "ndcg_at", "uauc"]
