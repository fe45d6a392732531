"""What to try next: the search space, the samplers, the model of the scores; the Pareto front, its picks, their rivals.

It knows numbers only: no images, no files but a space's YAML.
"""
