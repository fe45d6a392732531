"""What was asked for: flags and YAML made into a `StudyConfig`, checked against the model and the prompts into a `Job`.

All of it before any weights load.
"""
