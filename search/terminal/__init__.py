"""What a person sees in the shell: progress, names of studies, the state of each study."""
