"""The paper's analysis of a base model (Si et al., arXiv 2309.11497): what is drawn, measured, claimed and shown.

    passes.py   every image that it takes: recorded runs, sweeps, ablations
    claims.py   what the paper says, tested on them as numbers with intervals
    ranges.py   where b and s keep the guardrails
    tables.py   the data behind each figure, as rows
    style.py    how figures look; spectra.py and pictures.py draw them
    page.py     the page that explains them

`search.figures` puts them together.
"""
