"""How instrumentation gets into a process: `noclobber run`, an OpenTelemetry entry point, or one call."""
