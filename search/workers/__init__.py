"""Who evaluates: this process, processes of this machine, or actors on a Ray cluster, behind one protocol (`Crew`)."""
