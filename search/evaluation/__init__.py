"""A candidate to its scores: the generator makes the images, the metrics score them, and a cache keeps the scores.

It knows neither Optuna nor MLflow.
"""
