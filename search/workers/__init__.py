"""Who evaluates: this process, processes of this machine, or actors on a Ray cluster, behind one protocol (`Crew`)."""

from search.workers.crew import Crew, Evaluate, SingleWorker, WorkerDied, done

__all__ = ["Crew", "Evaluate", "SingleWorker", "WorkerDied", "done"]
