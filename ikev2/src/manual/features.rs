//! What is spoken, and what is **not**.
//!
//! # Features
//!
//! * IKE_SA_INIT and IKE_AUTH in both roles (RFC 7296 §1.2), one child SA with them.
//! * COOKIE and INVALID_KE_PAYLOAD, also together (§2.6, §2.6.1).
//! * NAT detection, port 4500 with the non-ESP marker, keepalive, and following a peer that a NAT
//!   has moved (§2.23, RFC 3948); a switch that forces UDP encapsulation.
//! * Authentication by certificates: RFC 7427 signatures (ECDSA, Ed25519 by RFC 8420, RSA to
//!   verify) and the older ECDSA methods (RFC 4754).
//! * A suspended step between proof and admission: [`Event::PeerPresented`](crate::Event::PeerPresented).
//! * OCSP inside IKE (RFC 4806), both roles: a response is asked for
//!   ([`InitiatorConfig::request_ocsp`](crate::InitiatorConfig::request_ocsp)) and handed to the application
//!   ([`PresentedPeer::stapled_ocsp`](crate::PresentedPeer::stapled_ocsp)), or given to a peer that asks
//!   ([`StapledCredential`](crate::StapledCredential)). The octets are the application's to verify.
//! * Configuration payload: an IPv4 address, netmask and DNS (§3.15).
//! * Narrowing of traffic selectors (§2.9).
//! * INFORMATIONAL: Delete of IKE and child SAs (§1.4.1), liveness check (§2.4), INITIAL_CONTACT.
//! * Retransmission with back-off and jitter, response cache, windows of one (§2.1 to §2.3).
//! * AES-GCM-16 with 128 and 256 bits, ChaCha20-Poly1305 (RFC 5282, RFC 7634); PRF HMAC-SHA2-256
//!   and 384; X25519 and P-256.
//!
//! # Not spoken
//!
//! * **CREATE_CHILD_SA**: neither rekeying nor further child SAs. A peer's request is answered with
//!   NO_ADDITIONAL_SAS, which RFC 7296 §1.3 and §4 have for those who do neither, and the IKE SA
//!   goes on. strongSwan 5.9.8 then deletes the IKE SA and makes a new one, which interrupts
//!   traffic for a round trip or two; give it lifetimes that make this rare.
//! * **Fragmentation** (RFC 7383): a message that exceeds the path's MTU relies on IP fragments.
//!   The notify that would announce it is not sent.
//! * **EAP, pre-shared keys, NULL authentication**: a peer that begins with EAP is refused.
//! * **IPv6 inside** by configuration payload. Selectors and outer addresses may be IPv6.
//! * **MOBIKE, redirect, session resumption, IKE_INTERMEDIATE, further key exchanges, PPK**:
//!   their notifies are ignored, as the RFCs allow.
//! * **Ciphers without AEAD** (AES-CBC), **MODP groups**, **transport mode, AH, IPComp**.
//! * **Childless IKE SAs** (RFC 6023): IKE_AUTH always asks for a child SA. When that is refused the
//!   IKE SA stays up.
//! * **IKEv1**: dropped without an answer.
