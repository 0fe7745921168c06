"""Before production: strands are held at their accesses, so that races which luck hides come out.

`pacer` is the one place through which every access passes while somebody wants it; `chaos` decides by a seeded plan
whom to hold, `steering` holds one strand until another has passed; `holds` and `seams` know how a thread, a task or a
greenlet waits without blocking others. Off unless a process was asked: `noclobber chaos`, `noclobber confirm`,
`with noclobber.chaos(...)`, the option of the pytest plugin. See docs/decisions/0012.
"""
