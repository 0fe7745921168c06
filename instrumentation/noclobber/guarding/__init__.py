"""Guards: a write that nothing guards becomes a conditional one, where somebody asked for that.

`blocks` knows what is guarded, what was read under it and who wrote last; one module a store turns a write into the
store's own conditional one. Never on by default: this is the one place where noclobber changes what a program does.
"""
