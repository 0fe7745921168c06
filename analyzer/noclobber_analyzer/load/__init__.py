"""Many agents at once for a while, and what comes of it: `noclobber load`, and the load tools of others.

`scenario` finds what one agent does, `drivers` let many do it in threads or in asyncio tasks, `program` is the process
in which they do (instrumented from its first line), and `outcome` is what became of it. `locust` brings the same into
Locust: its users are the agents, its web page tells the findings.
"""
