"""A real race between real agents, caught: `noclobber demo`.

The agents (`agents/`) are ordinary programs in processes of their own; none of them knows noclobber. They are
started through `noclobber run` over real servers that come as wheels. Each act has an independent observer, which
asks the server itself what happened, so that the demo can say whether noclobber was right.
"""
