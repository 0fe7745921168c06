"""Does somebody else's instrumentation keep to the contract, and does what it sends let races be found?

For SDKs in other languages: what they wrote is read as it stands (`wire`), each span is held against the contract's
table (`one_span`), all spans of a record against one another (`record`), and what the analyzer makes of a short story
against what it has to make of it (`stories`). The rules are written anew from the contract and share nothing with the
decoder but names: a decoder forgives, so it can be no measure.

Source: contract 2 (the access span), 2.1 (operations), 2.2 (strands, marks).
"""
