"""What is written: a study's folder, Optuna's database, the place of MLflow's data. Files are whole or not there.

The lowest room: it imports no other.
"""
