"""Asks for factors, has them evaluated, records and decides. Sits on `freeu` and `metrics`; nothing sits on it."""

from configs.quiet import keep_quiet

keep_quiet()  # here, since a worker on another machine runs no command
