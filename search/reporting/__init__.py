"""What a person reads of a study outside the terminal: report, MLflow's page, plots, cards, comparisons.

It reads study folders, and changes nothing in them.
"""
