"""One study from plan to verdict: trials, racing, budget, confirmation, result.

It asks the optimizer what to try next, and a crew of workers to evaluate it.
"""
