//! What is known to go wrong with IKE, and our answer.
//!
//! **Floods of IKE_SA_INIT.** Each costs a responder a key exchange and memory. Answer: cookies that
//! need no state, from a threshold on; a bound on half-open IKE SAs, each with a deadline; what is
//! established is not touched by either.
//!
//! **Whoever asks, makes us ask.** A gateway that looks up a certificate before its owner has proven
//! anything can be made to flood the one who knows. Answer: the AUTH signature and the identity are
//! checked first, and only then is the application asked; a retransmitted request does not ask
//! again.
//!
//! **A slow answer stops everybody.** Where the look-up holds a thread, a few slow answers stop a
//! gateway. Answer: no thread waits here; the IKE SA does, with a deadline that denies.
//!
//! **Forged errors.** IKE_SA_INIT errors are not authenticated. Answer: an initiator goes on
//! sending, and only shortens its wait; after that nothing unprotected has any effect but on
//! counters.
//!
//! **Forged addresses.** An old datagram, sent again from elsewhere, must not move an SA. Answer:
//! only a fresh and authentic message moves it, and only if the peer is behind a NAT.
//!
//! **Malformed input.** Answer: one bounded reader, every length opens a slice of that length, every
//! list has a limit; a table says which payloads a message may have; tests mutate and truncate
//! datagrams in every state.
//!
//! **Signature checks that are forgotten.** "No error" is a poor sign that a signature was checked.
//! Answer: an established IKE SA can be made only of a proof that the AUTH payload was verified and
//! a proof that the peer was admitted; each is made in one place.
//!
//! **Weak algorithms.** Answer: there are none to configure: no SHA-1 signatures, no group below
//! 128 bits, no cipher without integrity.
//!
//! **Identity mix-up.** A valid certificate proves nothing about another name. Answer: the identity
//! of the ID payload must be in the certificate that signs.
//!
//! **Secrets in logs.** Answer: keys are of one type, which prints its length and is overwritten
//! when dropped.
//!
//! **Reflection.** Unprotected answers go to forgeable addresses. Answer: those to strays are 36
//! octets long, limited a second, and never given to answers; a cookie is never
//! longer than the request that it answers.
