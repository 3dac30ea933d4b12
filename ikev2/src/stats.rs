//! What is counted. Unauthenticated input has no other effect, but for the half-open table.

/// What an [`Endpoint`](crate::Endpoint) has counted. Unauthenticated input changes nothing else.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct EndpointStats {
    /// Datagrams handed in.
    pub datagrams: u64,
    /// Not an IKE message.
    pub malformed: u64,
    /// Longer than [`Limits::datagram`](crate::Limits::datagram).
    pub oversized: u64,
    /// For an IKE SA that is not here.
    pub unknown_spi: u64,
    /// Of another major version.
    pub wrong_version: u64,
    /// Unprotected answers sent to strays.
    pub stray_answers: u64,
    /// Cookies sent.
    pub challenges: u64,
    /// Requests that returned a cookie which was not ours, or too old.
    pub bad_cookies: u64,
    /// First messages dropped because too many IKE SAs were half open, or open.
    pub over_limit: u64,
    /// Retransmitted IKE_SA_INIT requests routed to the IKE SA that they made.
    pub init_retransmits: u64,
    /// IKE_SA_INIT requests that were refused.
    pub refused: u64,
    /// IKE SAs begun by peers.
    pub accepted: u64,
    /// IKE SAs begun here.
    pub initiated: u64,
}

/// What an IKE SA has counted.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
#[non_exhaustive]
pub struct SaStats {
    /// Datagrams that were routed here.
    pub datagrams: u64,
    /// Datagrams whose protection was wrong, or that had none where it must be.
    pub unauthentic: u64,
    /// Datagrams outside of the window, of the wrong exchange, or with other SPIs.
    pub out_of_place: u64,
    /// Requests of the peer that came again.
    pub retransmits_received: u64,
    /// Requests of ours that were sent again.
    pub retransmits_sent: u64,
    /// Liveness checks that we began.
    pub probes: u64,
}
