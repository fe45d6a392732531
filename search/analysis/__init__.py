"""The paper's analysis of a base model (Si et al., arXiv 2309.11497): what is drawn, measured, claimed and shown.

    passes.py    every image that it takes: recorded runs, sweeps, ablations
    claims.py    what the paper says, tested on them as numbers with intervals
    ranges.py    where b and s keep the guardrails
    words.py     the diagnosis in words
    tables.py    the data behind each figure, as rows
    style.py     how figures look; draw.py has those of numbers, pictures.py those of pictures
    gallery.py   all figures with their words
    page.py      the page

`search.figures` puts them together.
"""
