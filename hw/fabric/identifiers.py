"""Names from files and users as identifiers in generated text: SystemVerilog, Verilog, VHDL, C++, constraint files.

Names of layers, edges and tensors come from model files and may be any text. Every name that reaches generated text is
made an identifier here: ASCII letters, digits and ``_``, at most MAX_LENGTH characters, no keyword of those languages.
"""

import re
from collections.abc import Collection, Iterable
from hashlib import sha256

MAX_LENGTH = 128
"""Most characters of an identifier. Names of files are made of identifiers and a few more characters."""

_SYSTEM_VERILOG = """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind bins
    binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config const
    constraint context continue cover covergroup coverpoint cross deassign default defparam design disable dist do edge
    else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup endinterface endmodule
    endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask enum event eventually expect
    export extends extern final first_match for force foreach forever fork forkjoin function generate genvar global
    highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import incdir include initial inout input
    inside instance int integer interconnect interface intersect join join_any join_none large let liblist library local
    localparam logic longint macromodule matches medium modport module nand negedge nettype new nexttime nmos nor
    noshowcancelled not notif0 notif1 null or output package packed parameter pmos posedge primitive priority program
    property protected pull0 pull1 pulldown pullup pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase
    randsequence rcmos real realtime ref reg reject_on release repeat restrict return rnmos rpmos rtran rtranif0
    rtranif1 s_always s_eventually s_nexttime s_until s_until_with scalared sequence shortint shortreal showcancelled
    signed small soft solve specify specparam static string strong strong0 strong1 struct super supply0 supply1
    sync_accept_on sync_reject_on table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri
    tri0 tri1 triand trior trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var
    vectored virtual void wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
"""
_VHDL = """
    abs access after alias all and architecture array assert assume assume_guarantee attribute begin block body buffer
    bus case component configuration constant context cover default disconnect downto else elsif end entity exit
    fairness file for force function generate generic group guarded if impure in inertial inout is label library linkage
    literal loop map mod nand new next nor not null of on open or others out package parameter port postponed procedure
    process property protected pure range record register reject release rem report restrict restrict_guarantee return
    rol ror select sequence severity shared signal sla sll sra srl strong subtype then to transport type unaffected
    units until use variable vmode vprop vunit wait when while with xnor xor
"""
_CPP = """
    alignas alignof and and_eq asm auto bitand bitor bool break case catch char char8_t char16_t char32_t class co_await
    co_return co_yield compl concept const const_cast consteval constexpr constinit continue decltype default delete do
    double dynamic_cast else enum explicit export extern false float for friend goto if inline int long main mutable
    namespace new noexcept not not_eq nullptr operator or or_eq private protected public register reinterpret_cast
    requires restrict return short signed sizeof static static_assert static_cast struct switch template this
    thread_local throw true try typedef typeid typename union unsigned using virtual void volatile wchar_t while xor
    xor_eq
"""
KEYWORDS = frozenset(f"{_SYSTEM_VERILOG} {_VHDL} {_CPP}".split())
"""Keywords of the languages of generated text, in lower case; VHDL ignores case."""


def identifier(name: str, prefixed: bool = False) -> str:
    """``name`` as an identifier. Different names may become the same one, see ``identifiers``.

    ``prefixed``: the result will follow a prefix, with which it is no keyword.
    """
    text = re.sub(r"[^A-Za-z0-9_]", "_", name)
    text = text if text[:1].isalpha() else f"n_{text}"
    if len(text) > MAX_LENGTH:
        digest = sha256(name.encode(errors="surrogatepass")).hexdigest()[:8]
        text = f"{text[: MAX_LENGTH - len(digest) - 1]}_{digest}"
    return f"{text}_" if text.lower() in KEYWORDS and not prefixed else text


def identifiers(names: Iterable[str], prefixed: bool = False) -> dict[str, str]:
    """Name -> identifier, a different one for every name. A name that is an identifier remains as it is.

    Of names that become the same identifier all but the first are numbered. ``prefixed`` is as for ``identifier``.
    """
    wanted = {name: identifier(name, prefixed) for name in names}
    found = {name: name for name, text in wanted.items() if name == text}
    taken = set(found)
    for name, text in wanted.items():
        if name not in found:
            found[name] = _unused(text, taken)
            taken.add(found[name])
    return found


def _unused(text: str, taken: Collection[str]) -> str:
    """``text``, or a numbered identifier in its place where it is taken."""
    number = 1
    unused = text
    while unused in taken:
        number += 1
        end = f"_{number}"
        unused = text[: MAX_LENGTH - len(end)] + end
    return unused
