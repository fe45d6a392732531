"""One study from plan to verdict: its trials, racing, budget, confirmation and result.

Asks the optimizer what to try, and a crew of workers to evaluate it.
"""
