"""A candidate to its scores: the generator draws, the metrics score, and what was scored before is kept.

Knows neither Optuna nor MLflow.
"""
