"""A person's blind verdict: pairs of held-out images, votes on them, and what the votes say."""
