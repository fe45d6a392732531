"""What a person sees in the shell: progress, names of studies, the state of each study."""

from search.terminal.study_names import Name, Study, chosen, complete, find_study

__all__ = ["Name", "Study", "chosen", "complete", "find_study"]
