"""What a person sees in the shell: progress, the names of studies, how each stands."""
