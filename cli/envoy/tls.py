"""Envoy's TLS contexts, towards clients and towards backends, of v2 (`tls_context`) and v3 (`transport_socket`).

The rule: files stay files; keys that stand in the document itself, or come by SDS, are not imported.
"""

from __future__ import annotations

from cli.config.document import Value
from cli.envoy.node import Node

Keys = dict[str, Value]
SOCKETS = ("envoy.transport_sockets.tls", "tls")
PLAIN = ("envoy.transport_sockets.raw_buffer", "raw_buffer")
VERSIONS = {"TLS_AUTO": "", "TLSV1_0": "", "TLSV1_1": "", "TLSV1_2": "1.2", "TLSV1_3": "1.3"}
SDS = "it comes by SDS; write the file names"


def context(node: Node) -> Node | None:
    """The TLS context of a filter chain or cluster; None where it has none."""
    if node.has("tls_context"):
        return node.node("tls_context")
    socket = node.node("transport_socket")
    if socket is None:
        return None
    name = socket.text("name")
    found = socket.node("typed_config" if socket.has("typed_config") else "config")
    if found is not None:
        found.skip("@type")
    if name in PLAIN:
        return None
    if name not in SOCKETS and "TlsContext" not in str(found.raw("@type") if found else ""):
        socket.fail("name", f"cannot be imported: {name}; known is {SOCKETS[0]}")
    return found


def listener_tls(node: Node) -> Keys | None:
    """A listener's `tls`, of a DownstreamTlsContext."""
    common = node.node("common_tls_context")
    if common is None:
        node.fail("common_tls_context", "is missing")
        return None
    certificates: list[Value] = [pair for each in common.nodes("tls_certificates") if (pair := _certificate(each))]
    if not certificates and not common.has("tls_certificate_sds_secret_configs"):
        common.fail("tls_certificates", "is missing")
    made: Keys = {"certificates": certificates}
    _parameters(common, made)
    ca, _ = _authorities(common)
    if ca:
        made["client_ca"] = ca
        made["client_certificates"] = "required" if node.flag("require_client_certificate") else "optional"
    node.skip("require_client_certificate", "session_timeout")
    node.differs("lbctl resumes sessions by itself", "session_ticket_keys", "disable_stateless_session_resumption")
    node.refuse("require_sni", "lbctl serves the first certificate")
    return made


def _parameters(common: Node, made: Keys) -> None:
    parameters = common.node("tls_params")
    common.refuse("tls_certificate_sds_secret_configs", SDS)
    if any(name != "http/1.1" for name in common.texts("alpn_protocols")):
        common.differs("lbctl speaks HTTP/1.1", "alpn_protocols")
    if parameters is None:
        return
    version = parameters.choice("tls_minimum_protocol_version", VERSIONS, "")
    if version:
        made["min_version"] = version
    ciphers = parameters.texts("cipher_suites")
    if ciphers:
        made["ciphers"] = ":".join(name for each in ciphers for name in each.strip("[]").split("|"))
    parameters.differs("OpenSSL's own", "ecdh_curves", "signature_algorithms", "tls_maximum_protocol_version")


def _certificate(node: Node) -> Keys | None:
    cert, key = file_of(node, "certificate_chain"), file_of(node, "private_key")
    node.refuse("password", "write the key without a passphrase")
    node.skip("ocsp_staple")
    return {"cert": cert, "key": key} if cert and key else None


def file_of(node: Node, key: str) -> str:
    """The file name of a DataSource."""
    source = node.node(key)
    if source is None:
        node.fail(key, "is missing")
        return ""
    for other in ("inline_string", "inline_bytes", "environment_variable"):
        source.refuse(other, "write it to a file and name that")
    return source.text("filename")


def _authorities(common: Node) -> tuple[str, str]:
    """The file of authorities and the one name that must be in the certificate; empty where there is none."""
    common.refuse("validation_context_sds_secret_config", SDS)
    combined = common.node("combined_validation_context")
    if combined is not None:
        combined.refuse("validation_context_sds_secret_config", SDS)
    key = "default_validation_context" if combined is not None else "validation_context"
    found = (combined or common).node(key)
    if found is None:
        return "", ""
    found.refuse("verify_certificate_hash", "lbctl verifies by authorities")
    found.refuse("verify_certificate_spki", "lbctl verifies by authorities")
    found.refuse("crl", "lbctl knows no revocation lists")
    ca = file_of(found, "trusted_ca") if found.has("trusted_ca") else ""
    return ca, _name(found)


def _name(found: Node) -> str:
    names = found.texts("verify_subject_alt_name")
    for key in ("match_subject_alt_names", "match_typed_subject_alt_names"):
        for matcher in found.nodes(key):
            matcher.skip("san_type")
            inner = matcher.node("matcher") if matcher.has("matcher") else matcher
            if inner is not None:
                names.append(inner.text("exact"))
    if len(names) > 1:
        found.fail("match_subject_alt_names", "cannot be imported: lbctl expects one name")
    return names[0] if names else ""


def backend_tls(node: Node) -> Keys:
    """A service's `tls`, of an UpstreamTlsContext."""
    made: Keys = {}
    common = node.node("common_tls_context")
    ca = name = ""
    if common is not None:
        _parameters(common, made)
        ca, name = _authorities(common)
        pairs = [pair for each in common.nodes("tls_certificates") if (pair := _certificate(each))]
        made |= pairs[0] if pairs else {}
    for key in ("min_version", "ciphers"):
        if made.pop(key, None):
            node.report.note(f"TLS to backends: {key} is lbctl's own (TLS 1.2 and 1.3)")
    if ca:
        made["ca"] = ca
    else:
        made["verify"] = False
        node.report.note("TLS to backends is not verified, as in Envoy without trusted_ca; remove verify: false")
    server = node.text("sni") or name
    if server:
        made["server_name"] = server
    node.skip("allow_renegotiation", "max_session_keys")
    node.differs("the name expected is server_name", "auto_host_sni", "auto_sni_san_validation")
    return made
