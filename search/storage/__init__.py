"""What is written: the study's folder, Optuna's database, where MLflow's data lie. Each file is whole or not there.

The lowest room: it knows no other.
"""
