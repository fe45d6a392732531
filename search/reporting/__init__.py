"""What a person reads of a study beside the terminal: the report, MLflow's page, plots, cards, comparisons of studies.

Reads study folders; changes nothing in them.
"""
