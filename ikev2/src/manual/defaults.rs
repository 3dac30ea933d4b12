//! What happens if nothing is configured, and the reason.
//!
//! | what | default | why |
//! |---|---|---|
//! | admission, responder | by the application, within 10 s | nobody gets in because nobody was asked; a peer retransmits for that long anyway |
//! | admission, initiator | immediate | the verifier and the configured identity decide, unless the caller wants to |
//! | cookies | from 1000 half-open IKE SAs on | below that a round trip costs honest peers more than state costs us |
//! | half-open IKE SAs | 20 000 at most, 30 s each | some 3 KiB each; a dozen retransmissions of a usual client |
//! | datagram | 16 384 octets at most | two chains of certificates of 8 KiB do not come in one message |
//! | unprotected answers | 100 a second | they cost a peer nothing when they fail to come |
//! | retransmission | 1 s, doubled up to 30 s, 12 times, ±10 % | RFC 7296 §2.4: a dozen times over several minutes; a fleet must not repeat in step |
//! | goodbye | 4 times | the peer has its own ways to notice |
//! | liveness check | after 60 s without anything protected | RFC 7296 §2.4; traffic counts if [`IkeSa::note_inbound`](crate::IkeSa::note_inbound) is told of it |
//! | NAT keepalive | each 20 s | RFC 3948 §4 |
//! | response kept after the end | 10 s | a peer that has not got the answer to its Delete asks again |
//! | IKE proposals | AES-128-GCM, AES-256-GCM, ChaCha20-Poly1305; SHA2-256, SHA2-384; X25519, P-256 | RFC 8247, the fastest first |
//! | ESP proposals | the same ciphers, 64-bit sequence numbers preferred | 32 bits run out in minutes on a fast link |
//! | lifetime of an IKE SA | none | there is no rekeying yet; see [`features`](super::features) |
//! | OCSP inside IKE | nobody is asked; who asks gets what the credential has, usually nothing | the status of the peer's certificate is asked elsewhere; [`PeerPresented`](crate::Event::PeerPresented) is where an answer must be judged |
//! | certificate request | without authorities | the status of the peer's certificate is asked elsewhere, so any will do; some peers send theirs only if asked |
