"""Streamlit components of our own: the space-time diagram, and text that nothing can turn into markup."""
