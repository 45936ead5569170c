"""Score files of any length in constant memory: a source of rows, a part that grows and resumes, an output."""
