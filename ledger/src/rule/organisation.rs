//! `foreign-organisation`: the subject's one organisation is registered to the endorsing member.

use crate::certificate::ParsedCertificate;
use crate::member::{Member, Organisation};
use crate::outcome::{Refusal, Refused};

pub(super) fn check(
    certificate: &ParsedCertificate<'_>,
    member: &Member,
) -> Result<Organisation, Refused> {
    let refuse = |detail: String| Err(Refused::new(Refusal::ForeignOrganisation, detail));
    let [name] = certificate.organisations() else {
        return refuse(format!(
            "the subject names {} organisations (O); exactly one is needed",
            certificate.organisations().len()
        ));
    };
    match member
        .organisations
        .iter()
        .find(|organisation| organisation.as_str() == name)
    {
        Some(organisation) => Ok(organisation.clone()),
        None => refuse(format!(
            "the organisation \"{}\" is not registered to member {}",
            name.chars().take(64).collect::<String>().escape_default(),
            member.id
        )),
    }
}
