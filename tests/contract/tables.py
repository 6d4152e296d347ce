"""Tables that the tests program: one with everything the vocabulary has, and small ones to change into each other."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_address

from lb4.nft.field import CtState, CtStatus, Field, Verdict, VerdictKind
from lb4.nft.ruleset import Base, Chain, Element, Hook, Rule, Set, Table
from lb4.nft.statement import (
    ConnectionCount,
    Constant,
    Counter,
    Dnat,
    HasFlag,
    InSet,
    IsOneOf,
    Jhash,
    MapLookup,
    Masquerade,
    Match,
    MoreBytes,
    Notrack,
    Numgen,
    NumgenMode,
    RateLimit,
    Reject,
    RejectKind,
    SetMark,
    SlotLookup,
    Snat,
    Statement,
    UpdateSet,
    VerdictMap,
)

TCP, UDP = b"\x06", b"\x11"
ARRIVING = (Field.IP_DADDR, Field.L4PROTO, Field.TH_DPORT)
ARRIVING_TYPES = ("ipv4_addr", "inet_proto", "inet_service")
ACCEPT, DROP = Verdict(VerdictKind.ACCEPT), Verdict(VerdictKind.DROP)


def address(text: str) -> bytes:
    return ip_address(text).packed


def port(number: int) -> bytes:
    return number.to_bytes(2, "big")


def goto(chain: str) -> Verdict:
    return Verdict(VerdictKind.GOTO, chain)


def slots(*ends: str) -> tuple[tuple[bytes, ...], ...]:
    return tuple((address(end), port(8080)) for end in ends)


def rule(*statements: Statement, comment: str = "") -> Rule:
    return Rule(statements, comment)


SETS = (
    Set(
        "listeners4",
        ARRIVING_TYPES,
        "verdict",
        elements=(
            Element((address("192.0.2.10"), TCP, port(80)), data=goto("nat-web-4")),
            Element((address("192.0.2.11"), UDP, port(53)), data=goto("nat-dns-4")),
        ),
    ),
    Set(
        "ranges4",
        ARRIVING_TYPES,
        "verdict",
        interval=True,
        elements=(
            Element(
                (address("192.0.2.10"), TCP, port(3000)), (address("192.0.2.10"), TCP, port(3099)), goto("nat-web-4")
            ),
        ),
    ),
    Set(
        "connections4",
        (*ARRIVING_TYPES, "ipv4_addr", "inet_service"),
        counter=True,
        elements=(Element((address("192.0.2.10"), TCP, port(80), address("10.0.1.2"), port(8080))),),
    ),
    Set(
        "deny4",
        ("ipv4_addr",),
        interval=True,
        elements=(
            Element((address("10.0.0.0"),), (address("10.0.0.255"),)),
            Element((address("10.0.1.0"),), (address("10.0.1.255"),)),
            Element((address("255.0.0.0"),), (address("255.255.255.255"),)),
        ),
    ),
    Set(
        "deny6",
        ("ipv6_addr",),
        interval=True,
        elements=(Element((address("2001:db8::"),), (address("2001:db8:ffff:ffff:ffff:ffff:ffff:ffff"),)),),
    ),
    Set("affinity4", ("ipv4_addr",), ("ipv4_addr", "inet_service"), dynamic=True, timeout=600),
    Set("clients4", ("ipv4_addr",), dynamic=True, size=1000),
    Set("rates4", ("ipv4_addr",), dynamic=True, timeout=60, size=1000),
    Set(
        "marks4",
        ("mark",),
        ("ipv4_addr", "inet_service"),
        elements=(Element((b"\1\0\0\0",), data=(address("10.0.1.2"), port(8080))),),
    ),
    Set("ports", ("inet_service",), elements=(Element((port(80),)), Element((port(443),)))),
)

NAT = (
    rule(Match(Field.L4PROTO, TCP), Dnat("ip", MapLookup((Field.IP_SADDR,), "affinity4"), True)),
    rule(Match(Field.L4PROTO, TCP), Dnat("ip", MapLookup((Field.MARK,), "marks4"), True)),
    rule(Match(Field.L4PROTO, TCP), Dnat("ip", Constant((address("10.0.1.2"), port(80))), True)),
    rule(Match(Field.L4PROTO, TCP), Dnat("ip6", Constant((address("2001:db8::2"), port(80))), True)),
    rule(Dnat("ip", Constant((address("10.0.1.2"),)), False)),
    rule(
        Match(Field.L4PROTO, TCP),
        Dnat("ip", SlotLookup(Jhash((Field.IP_SADDR,), 2, 7), slots("10.0.1.2", "10.0.2.2")), True),
    ),
    rule(
        Match(Field.L4PROTO, TCP),
        Dnat(
            "ip6", SlotLookup(Jhash((Field.IP6_SADDR, Field.TH_SPORT), 2, 7), slots("2001:db8::2", "2001:db8::3")), True
        ),
    ),
    rule(Dnat("ip", SlotLookup(Numgen(NumgenMode.RANDOM, 2), ((address("10.0.1.2"),), (address("10.0.2.2"),))), False)),
    rule(
        Match(Field.L4PROTO, TCP),
        Dnat("ip", SlotLookup(Numgen(NumgenMode.INC, 3), slots("10.0.1.2", "10.0.2.2", "10.0.1.2")), True),
        comment="round robin",
    ),
)

FILTER = (
    rule(HasFlag(Field.CT_STATE, CtState.INVALID), Counter(), DROP),
    rule(HasFlag(Field.CT_STATE, CtState.NEW), InSet((Field.IP_SADDR,), "deny4"), Counter(), DROP),
    rule(InSet((Field.IP6_SADDR,), "deny6", negated=True), Match(Field.IP6_DADDR, address("2001:db8::1")), ACCEPT),
    rule(ConnectionCount(5), DROP),
    rule(UpdateSet("clients4", (Field.IP_SADDR,), refresh=False, expression=ConnectionCount(5)), Counter(), DROP),
    rule(UpdateSet("rates4", (Field.IP_SADDR,), expression=RateLimit(5, 1, 7)), DROP),
    rule(RateLimit(100, 60, 5), DROP),
    rule(Reject(RejectKind.TCP_RESET)),
    rule(Match(Field.L4PROTO, TCP), Counter(), Reject(RejectKind.TCP_RESET)),
    rule(Reject(RejectKind.PORT_UNREACHABLE)),
    rule(SetMark(0x00FFFFFF)),
    rule(SetMark(0x00FFFFFF, 0x01000000)),
    rule(SetMark(0, 5)),
    rule(Match(Field.MARK, b"\5\0\0\0"), ACCEPT),
    rule(Match(Field.FIB_DADDR_TYPE, b"\2\0\0\0"), ACCEPT),
    rule(Match(Field.IIFNAME, b"eth0", negated=True), ACCEPT),
    rule(Match(Field.NFPROTO, b"\2"), Match(Field.IP_SADDR, address("10.0.0.1")), ACCEPT),
    rule(Match(Field.CT_DIRECTION, b"\1"), ACCEPT),
    rule(MoreBytes(0)),
    rule(Match(Field.CT_ORIGINAL_IP_DADDR, address("192.0.2.10")), ACCEPT),
    rule(IsOneOf(Field.L4PROTO, (TCP, UDP)), InSet((Field.TH_DPORT,), "ports"), ACCEPT),
    rule(Notrack()),
    rule(Verdict(VerdictKind.JUMP, "empty")),
)

SOURCE = (
    rule(
        HasFlag(Field.CT_STATUS, CtStatus.DNAT),
        IsOneOf(Field.L4PROTO, (TCP, UDP)),
        InSet(
            (Field.CT_ORIGINAL_IP_DADDR, Field.L4PROTO, Field.CT_ORIGINAL_PROTO_DST, Field.IP_DADDR, Field.TH_DPORT),
            "connections4",
        ),
    ),
    rule(UpdateSet("affinity4", (Field.IP_SADDR,), data=(Field.IP_DADDR, Field.TH_DPORT))),
    rule(Snat("ip", Constant((address("10.0.1.1"),)), fully_random=True)),
    rule(Snat("ip", SlotLookup(Numgen(NumgenMode.INC, 2), ((address("10.0.1.1"),), (address("10.0.1.3"),))))),
    rule(Masquerade(fully_random=True)),
    rule(Masquerade()),
)

CHAINS = (
    Chain("nat-web-4", NAT),
    Chain("nat-dns-4", ()),
    Chain("empty", ()),
    Chain(
        "entry",
        (rule(VerdictMap(ARRIVING, "listeners4")), rule(VerdictMap(ARRIVING, "ranges4"))),
        Base("nat", Hook.PREROUTING, -100),
    ),
    Chain("filter", FILTER, Base("filter", Hook.PREROUTING, -300)),
    Chain("source", SOURCE, Base("nat", Hook.POSTROUTING, 100)),
)

EVERYTHING = Table({each.name: each for each in SETS}, {each.name: each for each in CHAINS})


def small(web: str = "10.0.1.2", *more: str) -> Table:
    """One listener whose nat rule knows these backends."""
    ends = (web, *more)
    chain = Chain(
        "nat-web-4",
        (
            rule(Counter(), comment="first"),
            rule(
                Match(Field.L4PROTO, TCP), Dnat("ip", SlotLookup(Numgen(NumgenMode.INC, len(ends)), slots(*ends)), True)
            ),
        ),
    )
    entry = Chain("entry", (rule(VerdictMap(ARRIVING, "listeners4")),), Base("nat", Hook.PREROUTING, -100))
    listeners = replace(SETS[0], elements=SETS[0].elements[:1])
    return Table(
        {"listeners4": listeners, "connections4": SETS[2], "affinity4": SETS[5]}, {"nat-web-4": chain, "entry": entry}
    )
