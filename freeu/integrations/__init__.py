"""FreeU in other programs, by their own interfaces."""
