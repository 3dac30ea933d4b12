//! Members: the organisations of the consortium, and what each may do.

use core::fmt;
use core::str::FromStr;
use std::io::{self, Read};

use borsh::{BorshDeserialize, BorshSerialize};
use serde::{Deserialize, Serialize};

use crate::codec::{DecodeError, bounded_string, bounded_vec};
use crate::hash::{HexError, fixed_hex};
use crate::record::NameError;

/// The most members that a consortium can have.
pub const MAX_MEMBERS: usize = 1_024;

/// The most organisation names that one member can have registered.
pub const MAX_ORGANISATIONS: usize = 32;

/// The longest member name, in octets.
const MAX_MEMBER_ID: usize = 32;

/// The longest organisation name, in characters: `ub-organization-name`, RFC 5280 appendix A.1.
const MAX_ORGANISATION: usize = 64;

/// Why a member's description cannot stand.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum MemberError {
    /// Not a member name.
    #[error(
        "a member's name is 1 to 32 of a-z, 0-9, '-' and '.', and begins with a letter or digit"
    )]
    Id,
    /// The member has no organisation, or too many.
    #[error("member {id} has {found} organisations; it needs 1 to {MAX_ORGANISATIONS}")]
    OrganisationCount {
        /// The member.
        id: MemberId,
        /// How many it has.
        found: usize,
    },
    /// Not an organisation name.
    #[error(
        "an organisation's name is 1 to 64 characters without control characters or outer spaces"
    )]
    Organisation,
    /// The same organisation is there twice.
    #[error("member {id} has the organisation \"{organisation}\" twice; remove one")]
    OrganisationTwice {
        /// The member.
        id: MemberId,
        /// The name.
        organisation: Organisation,
    },
}

/// A member's short name: 1 to 32 octets of `a-z`, `0-9`, `-` and `.`.
#[derive(
    BorshSerialize, Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct MemberId(String);

impl MemberId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for MemberId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for MemberId {
    type Error = MemberError;

    fn try_from(text: String) -> Result<Self, MemberError> {
        let first_fits = text
            .bytes()
            .next()
            .is_some_and(|octet| octet.is_ascii_alphanumeric());
        let all_fit = text
            .bytes()
            .all(|octet| matches!(octet, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.'));
        if first_fits && all_fit && text.len() <= MAX_MEMBER_ID {
            Ok(Self(text))
        } else {
            Err(MemberError::Id)
        }
    }
}

impl FromStr for MemberId {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        if text.len() > MAX_MEMBER_ID {
            return Err(MemberError::Id);
        }
        text.to_owned().try_into()
    }
}

impl From<MemberId> for String {
    fn from(id: MemberId) -> Self {
        id.0
    }
}

impl BorshDeserialize for MemberId {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        bounded_string(reader, "member name", MAX_MEMBER_ID)?
            .try_into()
            .map_err(|error| DecodeError::Member(error).into())
    }
}

/// An organisation's name, as it stands in the O attribute of a certificate's subject.
///
/// 1 to 64 characters, compared octet by octet in UTF-8: no case folding, no normalisation.
#[derive(
    BorshSerialize, Clone, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct Organisation(String);

impl Organisation {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Organisation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Organisation {
    type Error = MemberError;

    fn try_from(text: String) -> Result<Self, MemberError> {
        let fits = !text.is_empty()
            && text.chars().count() <= MAX_ORGANISATION
            && text.trim() == text
            && !text.chars().any(char::is_control);
        if fits {
            Ok(Self(text))
        } else {
            Err(MemberError::Organisation)
        }
    }
}

impl FromStr for Organisation {
    type Err = MemberError;

    fn from_str(text: &str) -> Result<Self, MemberError> {
        text.to_owned().try_into()
    }
}

impl From<Organisation> for String {
    fn from(organisation: Organisation) -> Self {
        organisation.0
    }
}

impl BorshDeserialize for Organisation {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        // UTF-8 takes at most four octets for a character.
        bounded_string(reader, "organisation name", 4 * MAX_ORGANISATION)?
            .try_into()
            .map_err(|error| DecodeError::Member(error).into())
    }
}

/// A member's Ed25519 public key. As text, 64 lower-case hexadecimal digits.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Deserialize,
    Eq,
    Hash,
    Ord,
    PartialEq,
    PartialOrd,
    Serialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct MemberKey([u8; 32]);

impl MemberKey {
    /// Wraps the 32 octets of an Ed25519 public key (RFC 8032 §5.1.5).
    #[must_use]
    pub const fn from_octets(octets: [u8; 32]) -> Self {
        Self(octets)
    }

    /// The public half of a key pair.
    #[must_use]
    pub fn of(pair: &ring::signature::Ed25519KeyPair) -> Self {
        use ring::signature::KeyPair as _;

        let mut octets = [0; 32];
        octets.copy_from_slice(pair.public_key().as_ref());
        Self(octets)
    }

    /// The 32 octets.
    #[must_use]
    pub const fn as_octets(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for octet in self.0 {
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for MemberKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MemberKey({self})")
    }
}

impl FromStr for MemberKey {
    type Err = HexError;

    fn from_str(text: &str) -> Result<Self, HexError> {
        fixed_hex(text).map(Self)
    }
}

impl TryFrom<String> for MemberKey {
    type Error = HexError;

    fn try_from(text: String) -> Result<Self, HexError> {
        text.parse()
    }
}

impl From<MemberKey> for String {
    fn from(key: MemberKey) -> Self {
        key.to_string()
    }
}

/// What kind of organisation a member is. Only `operator` carries a right: to suspend certificates
/// that others endorsed. In JSON: `"manufacturer"`, `"operator"`, `"service-provider"`, `"ca"`.
#[derive(
    BorshDeserialize,
    BorshSerialize,
    Clone,
    Copy,
    Debug,
    Deserialize,
    Eq,
    Hash,
    PartialEq,
    Serialize,
)]
#[borsh(use_discriminant = true)]
#[serde(rename_all = "kebab-case")]
#[repr(u8)]
pub enum MemberKind {
    /// Makes devices.
    Manufacturer = 0,
    /// Runs a network and its gateways.
    Operator = 1,
    /// Serves the customers of a network.
    ServiceProvider = 2,
    /// Issues certificates.
    Ca = 3,
}

impl MemberKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [
        Self::Manufacturer,
        Self::Operator,
        Self::ServiceProvider,
        Self::Ca,
    ];

    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Manufacturer => "manufacturer",
            Self::Operator => "operator",
            Self::ServiceProvider => "service-provider",
            Self::Ca => "ca",
        }
    }
}

impl fmt::Display for MemberKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for MemberKind {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or_else(|| NameError::new(text, &Self::ALL.map(Self::as_str)))
    }
}

/// One thing that a member may do. In JSON: `"submission"`, `"validator"`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Endorses its own organisations' certificates and submits them.
    Submission,
    /// Takes part in consensus, and admits and removes members.
    Validator,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 2] = [Self::Submission, Self::Validator];

    /// The name, as in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Submission => "submission",
            Self::Validator => "validator",
        }
    }

    const fn bit(self) -> u8 {
        match self {
            Self::Submission => 0x01,
            Self::Validator => 0x02,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        Self::ALL
            .into_iter()
            .find(|role| role.as_str() == text)
            .ok_or_else(|| NameError::new(text, &Self::ALL.map(Self::as_str)))
    }
}

/// A set of roles. In JSON a list: `["submission","validator"]`.
#[derive(
    BorshSerialize, Clone, Copy, Debug, Default, Deserialize, Eq, Hash, PartialEq, Serialize,
)]
#[serde(from = "Vec<Role>", into = "Vec<Role>")]
pub struct Roles(u8);

impl Roles {
    /// No role: a member that only asks, suspends and keeps a replica.
    pub const NONE: Self = Self(0);
    /// Only [`Role::Submission`].
    pub const SUBMISSION: Self = Self(Role::Submission.bit());
    /// Only [`Role::Validator`].
    pub const VALIDATOR: Self = Self(Role::Validator.bit());
    /// Every role.
    pub const ALL: Self = Self(Role::Submission.bit() | Role::Validator.bit());

    /// Whether the role is in the set.
    #[must_use]
    pub const fn contains(self, role: Role) -> bool {
        self.0 & role.bit() != 0
    }

    /// The set with one more role.
    #[must_use]
    pub const fn with(self, role: Role) -> Self {
        Self(self.0 | role.bit())
    }
}

impl From<Vec<Role>> for Roles {
    fn from(roles: Vec<Role>) -> Self {
        roles.into_iter().fold(Self::NONE, Self::with)
    }
}

impl From<Roles> for Vec<Role> {
    fn from(roles: Roles) -> Self {
        Role::ALL
            .into_iter()
            .filter(|role| roles.contains(*role))
            .collect()
    }
}

impl BorshDeserialize for Roles {
    fn deserialize_reader<R: Read>(reader: &mut R) -> io::Result<Self> {
        let bits = u8::deserialize_reader(reader)?;
        if bits & !Self::ALL.0 == 0 {
            Ok(Self(bits))
        } else {
            Err(DecodeError::UnknownRole { bits }.into())
        }
    }
}

/// An organisation of the consortium.
///
/// ```json
/// {"id":"acme","key":"<64 hexadecimal digits>","kind":"manufacturer",
///  "roles":["submission"],"organisations":["ACME Femto"]}
/// ```
#[derive(
    BorshDeserialize, BorshSerialize, Clone, Debug, Deserialize, Eq, Hash, PartialEq, Serialize,
)]
#[serde(deny_unknown_fields)]
pub struct Member {
    /// Its short name.
    pub id: MemberId,
    /// The key that signs its transactions.
    pub key: MemberKey,
    /// What kind of organisation it is.
    pub kind: MemberKind,
    /// What it may do.
    pub roles: Roles,
    /// The organisation names (O) whose certificates it endorses. No two members share one.
    #[borsh(deserialize_with = "organisations")]
    pub organisations: Vec<Organisation>,
}

impl Member {
    /// Checks what the types of the fields do not.
    ///
    /// # Errors
    ///
    /// When there is no organisation, more than [`MAX_ORGANISATIONS`], or one twice.
    pub fn check(&self) -> Result<(), MemberError> {
        let found = self.organisations.len();
        if found == 0 || found > MAX_ORGANISATIONS {
            return Err(MemberError::OrganisationCount {
                id: self.id.clone(),
                found,
            });
        }
        for (index, organisation) in self.organisations.iter().enumerate() {
            if self
                .organisations
                .iter()
                .take(index)
                .any(|earlier| earlier == organisation)
            {
                return Err(MemberError::OrganisationTwice {
                    id: self.id.clone(),
                    organisation: organisation.clone(),
                });
            }
        }
        Ok(())
    }
}

fn organisations<R: Read>(reader: &mut R) -> io::Result<Vec<Organisation>> {
    bounded_vec(reader, "organisations", MAX_ORGANISATIONS)
}
