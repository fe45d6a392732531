"""What the user asked for: flags and YAML become a `StudyConfig`, which is checked against the model and the prompts
and becomes a `Job`.

All of it happens before any weights load.
"""
