"""Shows what the analyzer found: Streamlit pages and a JSON API on one port.

Everything here reads the store and nothing else; `build_app` makes the ASGI application that the engine or
`noclobber dashboard` serves. Every name that an agent chose (resource, agent, strand, version) is untrusted text
on its way to a page: it travels only as data and is set as text.
"""
