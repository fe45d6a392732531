"""What to try next: the search space, the samplers, the model of the scores and the Pareto front.

Knows numbers alone: no images, no files.
"""
