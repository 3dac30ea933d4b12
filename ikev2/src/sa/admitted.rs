use crate::event::Grant;

/// Proof that the peer was let in: by the application's verdict, or by a configuration that lets
/// in everyone whom the verifier accepts. Needed to establish an IKE SA, and minted in one place,
/// [`AwaitVerdict::decide`](super::verdict::AwaitVerdict::decide).
#[derive(Debug)]
#[must_use]
pub(crate) struct Admitted {
    grant: Grant,
}

impl Admitted {
    pub(super) fn mint(grant: Grant) -> Self {
        Self { grant }
    }

    /// What the peer gets.
    pub(super) fn grant(&self) -> &Grant {
        &self.grant
    }
}
