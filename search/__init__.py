"""Asks for factors, has them evaluated, records and decides. Sits on `freeu` and `metrics`; nothing sits on it."""
