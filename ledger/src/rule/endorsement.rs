//! `not-endorsed`: the submitting member has the role `submission`.

use crate::member::{Member, Role};
use crate::outcome::{Refusal, Refused};

pub(crate) fn check(member: &Member) -> Result<(), Refused> {
    if member.roles.contains(Role::Submission) {
        return Ok(());
    }
    Err(Refused::new(
        Refusal::NotEndorsed,
        format!(
            "member {} does not have the role {}",
            member.id,
            Role::Submission
        ),
    ))
}
